// `/config_dump`: everything that the proxy holds, as JSON, in pieces. Private keys are never part of it, nor the keys that
// tokens are verified by.

import type { CertificateStatus } from '../../dataplane/identity/certificates.ts';
import { formatSpiffeId } from '../../model/identity.ts';
import type { SecurityConfig } from '../../model/proxy/security.ts';
import type { ProxyState } from '../config/state.ts';

export interface DumpSources {
  readonly state: ProxyState;
  readonly certificates: () => readonly CertificateStatus[];
  readonly version: string;
  readonly about: () => Readonly<Record<string, unknown>>;
}

const withoutKeys = (security: SecurityConfig): unknown => ({
  ...security,
  tokens: security.tokens.map((rule) => ({ ...rule, keys: { kind: rule.keys.kind } })),
});

const certificateJson = ({ identity, state, certificate }: CertificateStatus): unknown => ({
  identity: formatSpiffeId(identity),
  state,
  validUntil: certificate === undefined ? undefined : new Date(certificate.notAfterMs).toISOString(),
});

/** Sets and maps of the model, as JSON knows them. */
const plain = (_: string, value: unknown): unknown =>
  value instanceof Map ? Object.fromEntries(value) : value instanceof Set ? [...value] : value;

function* list(name: string, items: Iterable<unknown>): Iterable<string> {
  yield `,\n"${name}": [`;
  let first = true;
  for (const item of items) {
    yield `${first ? '\n' : ',\n'}${JSON.stringify(item, plain)}`;
    first = false;
  }
  yield '\n]';
}

export async function* configDump({ state, certificates, version, about }: DumpSources): AsyncIterable<string> {
  const { proxy, world } = state;
  const own = proxy && { ...proxy, security: withoutKeys(proxy.security) };
  yield `{"version": ${JSON.stringify(version)},\n"about": ${JSON.stringify(about())},\n"proxy": ${JSON.stringify(own ?? null)}`;
  const services = [...state.services()].map((service) => ({
    ...service,
    bound: service.bound && { ...service.bound, security: withoutKeys(service.bound.security) },
  }));
  yield* list('services', services);
  yield* list(
    'routes',
    [...state.routes()].map(([name, route]) => ({ name, ...route })),
  );
  yield* list('certificates', certificates().map(certificateJson));
  yield* list('secrets', state.certificateNames());
  yield* list('addresses', world.services());
  yield* list('workloads', world.workloads());
  yield '}\n';
}
