import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { IService } from 'kubernetes-models/v1/Service';
import { serviceRules } from './service-rules.ts';

const node = { name: 'node-1', zone: 'zone-a' };
const service = (spec: object): IService =>
  ({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'order', namespace: 'shop' }, spec }) as IService;
const slice = (endpoints: object[]): IEndpointSlice =>
  ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'order-1', namespace: 'shop' },
    addressType: 'IPv4',
    endpoints,
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  }) as IEndpointSlice;
const base = { clusterIP: '10.96.0.7', ports: [{ name: 'http', port: 80, protocol: 'TCP' }] };
const backends = (spec: object, endpoints: object[]): string[] => {
  const script = serviceRules(node, [service({ ...base, ...spec })], () => [slice(endpoints)]);
  return [...script.matchAll(/(10\.244\.\d+\.\d+)(?::| \. )8080/g)].map((m) => m[1] as string);
};

test('ready endpoints are chosen among; unready ones are not', () => {
  const endpoints = [
    { addresses: ['10.244.1.5'], conditions: { ready: true } },
    { addresses: ['10.244.2.5'], conditions: {} },
    { addresses: ['10.244.2.6'], conditions: { ready: false } },
  ];
  assert.deepEqual(backends({}, endpoints), ['10.244.1.5', '10.244.2.5']);
});

test('when nobody is ready, those still serving while they end answer', () => {
  const endpoints = [
    { addresses: ['10.244.1.5'], conditions: { ready: false, serving: true, terminating: true } },
    { addresses: ['10.244.1.6'], conditions: { ready: false, serving: false } },
  ];
  assert.deepEqual(backends({}, endpoints), ['10.244.1.5']);
});

test('a Local service has only the endpoints of the node', () => {
  const endpoints = [
    { addresses: ['10.244.1.5'], nodeName: 'node-1' },
    { addresses: ['10.244.2.5'], nodeName: 'node-2' },
  ];
  assert.deepEqual(backends({ internalTrafficPolicy: 'Local' }, endpoints), ['10.244.1.5']);
});

test('hints keep traffic in the zone as long as somebody is ready there', () => {
  const near = { addresses: ['10.244.1.5'], hints: { forZones: [{ name: 'zone-a' }] } };
  const far = { addresses: ['10.244.2.5'], hints: { forZones: [{ name: 'zone-b' }] } };
  assert.deepEqual(backends({}, [near, far]), ['10.244.1.5']);
  assert.deepEqual(backends({}, [{ ...near, conditions: { ready: false } }, far]), ['10.244.2.5']);
});

test('nft takes the script, twice, for none, one and many endpoints', () => {
  const script = serviceRules(
    node,
    [
      service(base),
      service({
        ...base,
        clusterIP: '10.96.0.8',
        ports: [
          { name: 'http', port: 80 },
          { name: 'none', port: 81 },
        ],
      }),
      service({ ...base, clusterIP: '10.96.0.9', internalTrafficPolicy: 'Local' }),
      service({ clusterIP: 'None' }),
      service({ type: 'ExternalName', externalName: 'example.org' }),
    ],
    () => [slice([{ addresses: ['10.244.1.5'] }, { addresses: ['10.244.2.5'] }])],
  );
  const run = spawnSync(
    'unshare',
    [
      '--user',
      '--map-root-user',
      '--net',
      'sh',
      '-c',
      'PATH=$PATH:/usr/sbin; nft -f /dev/stdin && nft list table ip ambit-services',
    ],
    { input: script + script, encoding: 'utf8' },
  );
  assert.equal(run.status, 0, run.stderr);
  assert.match(run.stdout, /10\.96\.0\.7 \. tcp \. 80 : goto service-0/);
  assert.match(run.stdout, /numgen random mod 2/);
});
