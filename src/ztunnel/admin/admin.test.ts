// The admin endpoint, its dump against what the real node proxy answered for the same local state.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import type { CertificateStatus } from '../../dataplane/identity/certificates.ts';
import { makeCertificateRequest } from '../../dataplane/identity/csr.ts';
import { readCertificateReply } from '../../dataplane/identity/reply.ts';
import { TestAuthority } from '../../dataplane/testing/authority.ts';
import { ip, match, members, policy, rule, service, workload } from '../../model/testing/builders.ts';
import { ManualClock } from '../../platform/clock.ts';
import type { ConnectionInfo } from '../../telemetry/connection.ts';
import { type HttpEndpoint, serveHttp } from '../../telemetry/http-endpoint.ts';
import { configureLogging, currentLogFilter } from '../../telemetry/log.ts';
import type { PodState } from '../contracts.ts';
import { parseLocalState } from '../local-state.ts';
import { ZtunnelState } from '../state.ts';
import { configDump } from './config-dump.ts';
import { type AdminParts, adminHandler } from './handler.ts';
import { policyJson, serviceJson, staticConfigJson, workloadJson } from './state-json.ts';

configureLogging({ filter: 'off' });
type Dump = Record<string, unknown>;
const sample = JSON.parse(
  readFileSync(new URL('./testdata/ztunnel-config-dump.json', import.meta.url), 'utf8'),
) as Dump;

const local = parseLocalState(sample.staticConfig);
assert.ok(local.ok, local.ok ? '' : local.error.join('\n'));
const state = new ZtunnelState({ network: '', nodeName: 'n2', clock: new ManualClock() });
state.applyAddresses(local.value.addresses, []);
state.applyPolicies(local.value.policies, []);

let statuses: CertificateStatus[] = [];
let pods: PodState[] = [];
let stopped = 0;
const parts: AdminParts = {
  state,
  certificates: () => statuses,
  pods: { pods: () => pods },
  version: { version: '1' },
  config: { a: 1 },
  staticConfig: staticConfigJson(
    local.value.addresses.flatMap((a) => (a.kind === 'workload' ? [a.workload] : [])),
    local.value.addresses.flatMap((a) => (a.kind === 'service' ? [a.service] : [])),
    local.value.policies,
  ),
  shutDown: () => {
    stopped++;
  },
};
async function dump(): Promise<Dump> {
  let text = '';
  for await (const piece of configDump(parts)) text += piece;
  return JSON.parse(text) as Dump;
}

let endpoint: HttpEndpoint;
before(async () => {
  endpoint = await serveHttp(['127.0.0.1'], 0, adminHandler(parts));
});
after(() => endpoint.close());
const ask = (path: string, method = 'GET') => fetch(`http://127.0.0.1:${endpoint.ports[0]}${path}`, { method });

for (const key of ['services', 'policies', 'stagedServices', 'staticConfig'])
  test(`${key} equal the recorded ones`, async () => assert.deepEqual((await dump())[key], sample[key]));

test('workloads equal the recorded ones', async () => {
  const got = (await dump()).workloads as Dump[];
  // From a local file, the real proxy does not list a workload's services there; from discovery it does.
  assert.deepEqual(
    got.map(({ services, ...rest }) => rest),
    sample.workloads,
  );
  assert.deepEqual(got[1]?.services, ['shop/payment.shop.svc.cluster.local']);
});

test('certificates have the recorded form; no key is in them', async () => {
  const id = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'payment' };
  const authority = await TestAuthority.create();
  const { csrPem, privateKey } = await makeCertificateRequest(id);
  const leaf = await authority.sign(csrPem, 'spiffe://cluster.local/ns/shop/sa/payment');
  const certificate = readCertificateReply([leaf, authority.rootPem], id, privateKey, Date.now());
  assert.ok(certificate.ok);
  statuses = [
    { identity: id, state: 'Available', certificate: certificate.value },
    { identity: { ...id, serviceAccount: 'x' }, state: 'Initializing', certificate: undefined },
    { identity: { ...id, serviceAccount: 'y' }, state: 'Unavailable: no', certificate: undefined },
  ];
  const got = (await dump()).certificates as {
    certChain: Dump[];
    rootCerts: Dump[];
    state: string;
    identity: string;
  }[];
  statuses = [];
  const [wanted] = sample.certificates as typeof got;
  const [first, second, third] = got;
  assert.deepEqual(Object.keys(first ?? {}).sort(), Object.keys(wanted ?? {}).sort());
  assert.equal(first?.identity, wanted?.identity);
  assert.equal(first?.state, 'Available');
  for (const list of ['certChain', 'rootCerts'] as const) {
    assert.deepEqual(Object.keys(first?.[list][0] ?? {}).sort(), Object.keys(wanted?.[list][0] ?? {}).sort());
    assert.match(String(first?.[list][0]?.validFrom), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.match(String(first?.[list][0]?.serialNumber), /^\d+$/);
  }
  assert.equal(Buffer.from(String(first?.certChain[0]?.pem), 'base64').toString(), leaf);
  assert.deepEqual([second?.state, second?.certChain, third?.state], ['Initializing', [], 'Unavailable: no']);
  assert.doesNotMatch(JSON.stringify(got), /PRIVATE|privateKey/);
  const pems = got
    .flatMap((c) => [...c.certChain, ...c.rootCerts])
    .map((c) => Buffer.from(String(c.pem), 'base64').toString());
  assert.doesNotMatch(pems.join(), /PRIVATE/);
});

test('pods with their connections', async () => {
  const connection: ConnectionInfo = {
    direction: 'outbound',
    sourceAddress: { ip: ip('10.0.0.1'), port: 1 },
    source: undefined,
    sourceIdentity: undefined,
    destinationAddress: { ip: ip('10.0.0.2'), port: 15008 },
    hboneAuthority: '10.0.0.2:80',
    destination: undefined,
    destinationIdentity: undefined,
    destinationService: undefined,
    originalDestination: { ip: ip('fd00::1'), port: 80 },
  };
  const info = { name: 'a', namespace: 'b', serviceAccount: 'c' };
  pods = [
    { uid: 'u', state: 'Up', info, inbound: [], outbound: [connection, { ...connection, hboneAuthority: undefined }] },
  ];
  const one = { src: '10.0.0.1:1', originalDst: '[fd00::1]:80', actualDst: '10.0.0.2:15008' };
  assert.deepEqual((await dump()).workloadState, {
    u: {
      state: 'Up',
      connections: {
        inbound: [],
        outbound: [
          { ...one, protocol: 'HBONE' },
          { ...one, protocol: 'TCP' },
        ],
      },
      info,
    },
  });
  pods = [];
});

test('the dump of thousands of workloads lets other work run between its pieces', async () => {
  const many = Array.from({ length: 2000 }, (_, i) => workload(`w-${i}`, { addresses: [] }));
  const large = new ZtunnelState({ network: '', nodeName: 'n', clock: new ManualClock() });
  large.applyAddresses(
    many.map((w) => ({ kind: 'workload', workload: w })),
    [],
  );
  let turns = 0;
  const tick = setInterval(() => turns++, 0);
  let text = '';
  for await (const piece of configDump({ ...parts, state: large })) {
    text += piece;
    setImmediate(() => turns++);
  }
  clearInterval(tick);
  assert.equal((JSON.parse(text) as { workloads: unknown[] }).workloads.length, 2000);
  assert.ok(turns >= 9);
});

test('all fields of a workload, a service and a policy', () => {
  const gateway = { destination: { kind: 'address', network: 'n', ip: ip('10.9.9.9') }, hbonePort: 15008 } as const;
  const json = JSON.parse(
    JSON.stringify(
      workloadJson(
        workload('w', {
          waypoint: gateway,
          networkGateway: { destination: { kind: 'hostname', namespace: 'a', hostname: 'b.c' }, hbonePort: 1 },
          network: 'n',
          hostname: 'h',
          nativeTunnel: true,
          workloadType: 'pod',
          status: 'unhealthy',
          hostNetwork: true,
          applicationTunnel: { protocol: 'proxy', port: 9 },
          locality: { region: 'r', zone: '', subzone: 's' },
          services: members({ 'shop/b': ['80:1'], 'shop/a': [] }),
        }),
      ),
    ),
  ) as Dump;
  assert.deepEqual(json.waypoint, { destination: 'n/10.9.9.9', hboneMtlsPort: 15008 });
  assert.deepEqual(json.networkGateway, { destination: 'a/b.c', hboneMtlsPort: 1 });
  assert.deepEqual(
    [json.network, json.hostname, json.nativeTunnel, json.workloadType, json.status, json.networkMode],
    ['n', 'h', true, 'pod', 'Unhealthy', 'HostNetwork'],
  );
  assert.deepEqual(json.applicationTunnel, { protocol: 'PROXY', port: 9 });
  assert.deepEqual(json.locality, { region: 'r', zone: '', subzone: 's' });
  assert.deepEqual(json.services, ['shop/a', 'shop/b']);
  const svc = JSON.parse(
    JSON.stringify(
      serviceJson(
        service('s', {
          cidrVips: [{ network: '', range: { ip: ip('10.0.0.0'), length: 8 } }],
          weightedWaypoints: [{ waypoint: gateway, weight: 3 }],
          loadBalancing: { mode: 'failover', preferences: ['network', 'zone'], healthPolicy: 'allowAll' },
          ipFamilies: 'dual',
          visibility: 'namespace',
          subjectAltNames: [{ trustDomain: 't', namespace: 'n', serviceAccount: 's' }],
        }),
        [],
      ),
    ),
  ) as Dump;
  assert.deepEqual(svc.cidrVips, [{ network: '', cidr: '10.0.0.0/8' }]);
  assert.deepEqual(svc.weightedWaypoints, [
    { destination: { destination: 'n/10.9.9.9', hboneMtlsPort: 15008 }, weight: 3 },
  ]);
  assert.deepEqual(svc.loadBalancer, {
    routingPreferences: ['Network', 'Zone'],
    mode: 'Failover',
    healthPolicy: 'AllowAll',
  });
  assert.deepEqual(
    [svc.ipFamilies, svc.visibility, svc.subjectAltNames],
    ['Dual', 'Namespace', ['spiffe://t/ns/n/sa/s']],
  );
  assert.deepEqual(
    policyJson(
      policy('p', 'allow', {
        scope: 'global',
        anyRule: [
          rule(
            match({
              principals: [
                { kind: 'prefix', value: 'a' },
                { kind: 'suffix', value: 'b' },
                { kind: 'exact', value: 'c' },
              ],
              notPrincipals: [{ kind: 'present' }],
              serviceAccounts: [{ kind: 'exact', value: 'ns/sa' }],
              notSourceIps: [{ kind: 'cidr', range: { ip: ip('10.0.0.0'), length: 8 } }],
            }),
          ),
        ],
      }),
    ).rules,
    [
      [
        [
          {
            serviceAccounts: [{ namespace: 'ns', serviceAccount: 'sa' }],
            principals: [{ Prefix: 'a' }, { Suffix: 'b' }, { Exact: 'c' }],
            notPrincipals: [{ Presence: [] }],
            notSourceIps: ['10.0.0.0/8'],
          },
        ],
      ],
    ],
  );
});

test('the index names every path; others do not exist', async () => {
  const index = await (await ask('/')).text();
  for (const path of ['config_dump', 'logging', 'quitquitquit', 'debug/pprof/profile', 'debug/pprof/heap'])
    assert.match(index, new RegExp(`href="/${path}"`));
  assert.equal((await ask('/nothing')).status, 404);
  const got = await ask('/config_dump');
  assert.equal(got.headers.get('content-type'), 'application/json');
  assert.deepEqual(Object.keys((await got.json()) as Dump).sort(), [
    'certificates',
    'config',
    'policies',
    'services',
    'stagedServices',
    'staticConfig',
    'version',
    'workloadState',
    'workloads',
  ]);
});

test('log levels are read, added to and reset; a bad one is 400 and changes nothing', async () => {
  configureLogging({ filter: 'off' });
  assert.match(await (await ask('/logging', 'POST')).text(), /current log level is off/);
  assert.match(await (await ask('/logging?level=access=info,xds=debug', 'POST')).text(), /access=info,xds=debug,off/);
  const bad = await ask('/logging?level=loud', 'POST');
  assert.equal(bad.status, 200, 'a lone word is a scope, as in RUST_LOG');
  assert.equal((await ask('/logging?level=x=loud', 'POST')).status, 400);
  assert.equal(currentLogFilter(), 'access=info,xds=debug,loud=trace,off');
  assert.match(await (await ask('/logging?reset', 'POST')).text(), /is off/);
  assert.match(await (await ask('/logging?reset&level=warn', 'POST')).text(), /is warn/);
  assert.equal((await ask('/logging')).status, 405);
  configureLogging({ filter: 'off' });
});

test('shutdown only by POST', async () => {
  assert.equal((await ask('/quitquitquit')).status, 405);
  assert.equal(stopped, 0);
  assert.equal((await ask('/quitquitquit', 'POST')).status, 200);
  await new Promise((r) => setImmediate(r));
  assert.equal(stopped, 1);
});

test('profiles: bounded, one at a time', async () => {
  assert.equal((await ask('/debug/pprof/profile?seconds=301')).status, 400);
  assert.equal((await ask('/debug/pprof/profile?frequency=0')).status, 400);
  const both = await Promise.all([
    ask('/debug/pprof/profile?seconds=1&frequency=1000'),
    ask('/debug/pprof/profile?seconds=1'),
  ]);
  assert.deepEqual(both.map((answer) => answer.status).sort(), [200, 409]);
  const cpu = both.find((answer) => answer.status === 200);
  assert.ok(cpu);
  assert.ok(Array.isArray(((await cpu.json()) as { nodes: unknown }).nodes));
  const heap = (await (await ask('/debug/pprof/heap?seconds=1')).json()) as { head: unknown };
  assert.notEqual(heap.head, undefined);
});
