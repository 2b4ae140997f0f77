import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Policy } from '../../model/policy.ts';
import { type MtlsMode, type PeerAuthentication, parsePeerAuthentication } from '../objects/security.ts';
import {
  convertedKey,
  convertPeerAuthentication,
  peerAuthenticationKeys,
  staticStrictPolicy,
} from './peer-authentication.ts';

const ROOT = 'istio-system';
const STRICT_KEY = 'istio-system/istio_converted_static_strict';

interface Spec {
  readonly name?: string;
  readonly namespace?: string;
  readonly mode?: MtlsMode;
  readonly ports?: Readonly<Record<number, MtlsMode>>;
  readonly selector?: boolean;
  readonly created?: string;
}
const peer = ({
  name = 'p',
  namespace = 'shop',
  mode,
  ports = {},
  selector = true,
  created,
}: Spec): PeerAuthentication =>
  parsePeerAuthentication({
    metadata: { name, namespace, creationTimestamp: created ?? '2026-01-01T00:00:00Z' },
    spec: {
      ...(selector ? { selector: { matchLabels: { app: 'x' } } } : {}),
      ...(mode === undefined ? {} : { mtls: { mode } }),
      portLevelMtls: Object.fromEntries(Object.entries(ports).map(([port, its]) => [port, { mode: its }])),
    },
  });
const wide = (mode: MtlsMode, more: Spec = {}): PeerAuthentication =>
  peer({ name: `w-${mode}`, mode, selector: false, ...more });
const keys = (mesh: MtlsMode | undefined, namespace: MtlsMode | undefined, workload: PeerAuthentication | undefined) =>
  peerAuthenticationKeys(
    workload === undefined ? [] : [workload],
    {
      mesh: mesh === undefined ? [] : [wide(mesh, { namespace: ROOT })],
      namespace: namespace === undefined ? [] : [wide(namespace)],
    },
    ROOT,
  );

const KEY = 'shop/converted_peer_authentication_p';
const cases: readonly [string, MtlsMode | undefined, MtlsMode | undefined, Spec | undefined, readonly string[]][] = [
  ['nothing anywhere is permissive', undefined, undefined, undefined, []],
  ['mesh STRICT', 'STRICT', undefined, undefined, [STRICT_KEY]],
  ['namespace wins over mesh', 'STRICT', 'PERMISSIVE', undefined, []],
  ['DISABLE is as PERMISSIVE', 'STRICT', 'DISABLE', undefined, []],
  ['UNSET namespace inherits', 'STRICT', 'UNSET', undefined, [STRICT_KEY]],
  ['workload wins over namespace', undefined, 'STRICT', { mode: 'PERMISSIVE' }, []],
  ['workload STRICT', undefined, 'PERMISSIVE', { mode: 'STRICT' }, [STRICT_KEY]],
  ['UNSET workload inherits', 'STRICT', undefined, { mode: 'UNSET' }, [STRICT_KEY]],
  ['STRICT with an exempt port', undefined, undefined, { mode: 'STRICT', ports: { 80: 'PERMISSIVE' } }, [KEY]],
  ['STRICT with a DISABLE port', undefined, undefined, { mode: 'STRICT', ports: { 80: 'DISABLE' } }, [KEY]],
  [
    'STRICT with strict ports is just STRICT',
    undefined,
    undefined,
    { mode: 'STRICT', ports: { 80: 'STRICT' } },
    [STRICT_KEY],
  ],
  ['a strict port under PERMISSIVE', 'STRICT', undefined, { mode: 'PERMISSIVE', ports: { 80: 'STRICT' } }, [KEY]],
  ['a strict port under nothing', undefined, undefined, { ports: { 80: 'STRICT' } }, [KEY]],
  ['an exempt port under inherited STRICT', 'STRICT', undefined, { ports: { 80: 'PERMISSIVE' } }, [KEY]],
  ['only DISABLE ports under inherited STRICT', 'STRICT', undefined, { ports: { 80: 'DISABLE' } }, [STRICT_KEY]],
  ['an exempt port under PERMISSIVE', undefined, undefined, { mode: 'PERMISSIVE', ports: { 80: 'DISABLE' } }, []],
];
for (const [name, mesh, namespace, workload, want] of cases)
  test(name, () => assert.deepEqual(keys(mesh, namespace, workload && peer(workload)), want));

test('the oldest wins within a level, the name among equally old', () => {
  const young = wide('STRICT', { created: '2026-02-01T00:00:00Z' });
  const old = wide('PERMISSIVE', { created: '2026-01-01T00:00:00Z' });
  assert.deepEqual(peerAuthenticationKeys([], { mesh: [], namespace: [young, old] }, ROOT), []);
  const [a, b] = [peer({ name: 'a', mode: 'STRICT' }), peer({ name: 'b', mode: 'PERMISSIVE' })];
  assert.deepEqual(peerAuthenticationKeys([b, a], { mesh: [], namespace: [] }, ROOT), [STRICT_KEY]);
});

test('port modes without selector have no effect', () => {
  assert.deepEqual(peer({ selector: false, ports: { 80: 'STRICT' } }).ports, []);
});

test('a mode that nobody knows counts as STRICT', () => {
  const odd = parsePeerAuthentication({ metadata: { name: 'p', namespace: 'n' }, spec: { mtls: { mode: 'strict' } } });
  assert.equal(odd.mode, 'STRICT');
});

/** Whether the policy denies a connection, evaluated by the letter: it only asks for principal and port. */
function denies(policy: Policy, plaintext: boolean, port: number): boolean {
  return policy.anyRule.some(({ everyClause }) =>
    everyClause.every(({ anyMatch }) =>
      anyMatch.some((match) => {
        const ports = match.destinationPorts.some((p) => p.kind === 'port' && p.port === port);
        const exempt = match.notDestinationPorts.some((p) => p.kind === 'port' && p.port === port);
        if (match.destinationPorts.length > 0 && !ports) return false;
        if (exempt) return false;
        return match.notPrincipals.length === 0 || plaintext;
      }),
    ),
  );
}

test('what a workload lists denies plaintext exactly where the effective mode of the port is STRICT', () => {
  const mode = fc.constantFrom<MtlsMode>('UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT');
  const optional = fc.option(mode, { nil: undefined });
  fc.assert(
    fc.property(
      optional,
      optional,
      mode,
      fc.dictionary(fc.constantFrom('80', '81', '82'), mode),
      (mesh, namespace, own, ports) => {
        const workload = peer({ mode: own, ports });
        const parents = {
          mesh: mesh === undefined ? [] : [wide(mesh, { namespace: ROOT })],
          namespace: namespace === undefined ? [] : [wide(namespace)],
        };
        const store = new Map([[STRICT_KEY, staticStrictPolicy(ROOT)]]);
        const converted = convertPeerAuthentication(workload, parents, ROOT);
        if (converted !== undefined) store.set(converted.key, converted);
        const listed = peerAuthenticationKeys([workload], parents, ROOT).map((key) => {
          const policy = store.get(key);
          assert.ok(policy, `${key} is listed and does not exist`);
          return policy;
        });
        const parent = [namespace, mesh].find((m) => m !== undefined && m !== 'UNSET') ?? 'PERMISSIVE';
        const base = own === 'UNSET' ? parent : own;
        // istiod's quirk: under an inherited STRICT, DISABLE ports count only beside a PERMISSIVE one
        const quirk = own === 'UNSET' && base === 'STRICT' && !Object.values(ports).includes('PERMISSIVE');
        for (const port of [80, 81, 82, 90]) {
          const its = ports[String(port)] ?? 'UNSET';
          const effective = its === 'UNSET' || quirk ? (quirk ? 'STRICT' : base) : its;
          assert.equal(
            listed.some((policy) => denies(policy, true, port)),
            effective === 'STRICT',
            `plaintext to ${port}`,
          );
          assert.ok(!listed.some((policy) => denies(policy, false, port)), `mTLS to ${port}`);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('in the root namespace a selector has no effect', () => {
  const own = peer({ namespace: ROOT, mode: 'STRICT', ports: { 80: 'PERMISSIVE' } });
  assert.equal(convertPeerAuthentication(own, { mesh: [], namespace: [] }, ROOT), undefined);
  assert.equal(convertedKey(own), `${ROOT}/converted_peer_authentication_p`);
});
