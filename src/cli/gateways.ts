// Gateways at a glance: each listener, and where it is reached from this machine.

import type { IGateway } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/Gateway';
import type { IService } from 'kubernetes-models/v1/Service';
import { GATEWAYS } from '../kube/client/resources.ts';
import type { KubeClient } from '../kube/client/types.ts';
import { HOST, PUBLISHED_ANNOTATION, parsePublished } from '../local/published-ports.ts';
import { colours, table } from './output.ts';

export interface GatewayLine {
  readonly namespace: string;
  readonly name: string;
  readonly className: string;
  readonly programmed: boolean;
  /** Why it is not programmed. */
  readonly message: string;
  readonly listeners: readonly {
    readonly name: string;
    readonly protocol: string;
    readonly port: number;
    /** Empty: any. */
    readonly hostname: string;
    /** Undefined: it has no address that is of use here. */
    readonly url: string | undefined;
  }[];
}

const SCHEMES: Readonly<Record<string, { readonly scheme: string; readonly port: number }>> = {
  HTTP: { scheme: 'http', port: 80 },
  HTTPS: { scheme: 'https', port: 443 },
  TLS: { scheme: 'tls', port: 0 },
  TCP: { scheme: 'tcp', port: 0 },
};

/** `http://127.0.0.1:8080`; the scheme's own port is left out. */
function urlOf(protocol: string, host: string, port: number): string | undefined {
  const known = SCHEMES[protocol];
  if (known === undefined) return undefined;
  const name = host.includes(':') ? `[${host}]` : host;
  return `${known.scheme}://${name}${port === known.port ? '' : `:${port}`}`;
}

/** @param services  of all Gateways, among others */
export function gatewayLine(gateway: IGateway, services: readonly IService[]): GatewayLine {
  const { name = '', namespace = '' } = gateway.metadata ?? {};
  const service = services.find(
    ({ metadata }) =>
      metadata?.namespace === namespace &&
      metadata.labels?.['gateway.networking.k8s.io/gateway-name'] === name &&
      metadata.labels['gateway.istio.io/managed'] !== undefined,
  );
  const published = parsePublished(service?.metadata?.annotations?.[PUBLISHED_ANNOTATION]);
  const [address] = gateway.status?.addresses ?? [];
  const programmed = gateway.status?.conditions?.find(({ type }) => type === 'Programmed');
  return {
    namespace,
    name,
    className: gateway.spec.gatewayClassName,
    programmed: programmed?.status === 'True',
    message: programmed?.status === 'True' ? '' : (programmed?.message ?? 'no control plane has looked at it yet'),
    listeners: gateway.spec.listeners.map((listener) => {
      const hostPort = published.get(listener.port);
      return {
        name: listener.name,
        protocol: listener.protocol,
        port: listener.port,
        hostname: listener.hostname ?? '',
        url:
          hostPort !== undefined
            ? urlOf(listener.protocol, HOST, hostPort)
            : address?.value && urlOf(listener.protocol, address.value, listener.port),
      };
    }),
  };
}

/** One line a listener; the Gateway's own columns stand on its first. */
export const gatewayTable = (gateways: readonly GatewayLine[]): string =>
  table(
    ['NAMESPACE', 'GATEWAY', 'CLASS', 'PROGRAMMED', 'LISTENER', 'HOST', 'URL'],
    gateways.flatMap((gateway) =>
      gateway.listeners.map((listener, at) => [
        at === 0 ? gateway.namespace : '',
        at === 0 ? gateway.name : '',
        at === 0 ? gateway.className : '',
        at === 0 ? (gateway.programmed ? colours.green('yes') : colours.red('no')) : '',
        `${listener.name} ${listener.protocol}/${listener.port}`,
        listener.hostname || '*',
        listener.url ?? '-',
      ]),
    ),
    2,
  );

const LOOK_AGAIN_MS = 50;
/** While these are the reason, waiting may help. */
const PENDING: ReadonlySet<string> = new Set(['Pending', 'AddressNotAssigned', 'AddressNotUsable']);

/**
 * Waits until Gateways are programmed; not for one that nobody can program as it is written.
 * @param keys  `<namespace>/<name>`
 * @returns those that are not, with the reason
 */
export async function waitForGateways(
  client: KubeClient,
  keys: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<readonly { readonly gateway: string; readonly reason: string }[]> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const waiting: { gateway: string; reason: string }[] = [];
    let mayHelp = false;
    for (const key of keys) {
      const [namespace = '', name = ''] = key.split('/');
      const found = await client.get(GATEWAYS, name, namespace);
      const programmed = found?.status?.conditions?.find(({ type }) => type === 'Programmed');
      if (found === undefined || programmed?.status === 'True') continue;
      waiting.push({ gateway: key, reason: programmed?.message ?? 'no control plane has looked at it yet' });
      mayHelp ||= PENDING.has(programmed?.reason ?? 'Pending');
    }
    if (!mayHelp || signal.aborted || Date.now() >= end) return waiting;
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}
