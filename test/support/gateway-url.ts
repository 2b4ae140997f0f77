// Where a listener of a gateway answers on this machine.

import { eventually, type TestMesh } from './mesh.ts';

/** The address of a listener on this machine, as `ambit status` tells it. */
export function listenerUrl(mesh: TestMesh, listener: string): Promise<string> {
  return eventually(`the URL of the listener ${listener}`, async () => {
    const ran = await mesh.ambit(['status', '-o', 'json']);
    const { gateways = [] } = JSON.parse(ran.stdout) as {
      gateways?: readonly {
        readonly listeners: readonly { readonly name: string; readonly url: string }[];
      }[];
    };
    return gateways.flatMap(({ listeners }) => listeners).find(({ name }) => name === listener)?.url;
  });
}
