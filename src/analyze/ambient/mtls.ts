// PeerAuthentication in ambient: DISABLE that disables nothing, and STRICT beside callers without the mesh.

import { parsePeerAuthentication } from '../../derive/objects/security.ts';
import type { Analyzer } from '../analyzer.ts';
import { KIND } from '../kinds.ts';
import type { World } from '../world.ts';

/** A PeerAuthentication of the namespace or the mesh asks for mTLS. */
export const hasStrict = (world: World, namespace: string): boolean =>
  world
    .all(KIND.peerAuthentication)
    .filter(({ namespace: own }) => own === namespace || own === world.settings.rootNamespace)
    .some((resource) => parsePeerAuthentication(resource.object).mode === 'STRICT');

export const mtlsAnalyzer: Analyzer = {
  name: 'ambient.MtlsAnalyzer',
  description: 'mTLS modes that mean another thing in ambient, or shut out callers',
  codes: ['AMB0019', 'AMB0020'],
  analyze(world, report) {
    for (const resource of world.all(KIND.peerAuthentication)) {
      const { namespace } = resource;
      if (!world.isAmbient(namespace) && namespace !== world.settings.rootNamespace) continue;
      const mode = resource.spec.at('mtls', 'mode');
      if (mode.text === 'DISABLE') report('AMB0019', resource, mode, 'mtls.mode');
      for (const [port, entry] of resource.spec.at('portLevelMtls').entries())
        if (entry.at('mode').text === 'DISABLE') report('AMB0019', resource, entry.at('mode'), `port ${port}`);
      if (mode.text !== 'STRICT' || !world.isAmbient(namespace)) continue;
      const outside = world
        .workloadsIn(namespace)
        .filter(
          ({ ambient, sidecar, proxyOnly, gatewayName }) =>
            !ambient && !sidecar && !proxyOnly && gatewayName === undefined,
        );
      const names = outside.map((workload) => workload.resource.key).sort();
      if (names.length > 0) report('AMB0020', resource, mode, 'STRICT', names.slice(0, 5).join(', '));
    }
  },
};
