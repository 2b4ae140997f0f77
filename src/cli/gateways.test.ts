import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IGateway } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/Gateway';
import type { IService } from 'kubernetes-models/v1/Service';
import { gatewayLine, gatewayTable } from './gateways.ts';

const gateway = (status: IGateway['status'] = {}): IGateway => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name: 'edge', namespace: 'shop' },
  spec: {
    gatewayClassName: 'istio',
    listeners: [
      { name: 'http', port: 80, protocol: 'HTTP' },
      { name: 'https', port: 443, protocol: 'HTTPS', hostname: '*.example.com' },
      { name: 'db', port: 5432, protocol: 'TCP' },
      { name: 'mesh', port: 15008, protocol: 'HBONE' },
    ],
  },
  status,
});
const service = (published?: string): IService => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    name: 'edge-istio',
    namespace: 'shop',
    labels: {
      'gateway.networking.k8s.io/gateway-name': 'edge',
      'gateway.istio.io/managed': 'istio.io-gateway-controller',
    },
    ...(published !== undefined && { annotations: { 'ambit.dev/published': published } }),
  },
});
const urls = (made: IGateway, services: readonly IService[] = []) =>
  gatewayLine(made, services).listeners.map(({ url }) => url);

test('in a room a listener is where it is published on the host', () => {
  const published = '80=127.0.0.1:80,443=127.0.0.1:8443,5432=127.0.0.1:5432';
  assert.deepEqual(urls(gateway(), [service(published)]), [
    'http://127.0.0.1',
    'https://127.0.0.1:8443',
    'tcp://127.0.0.1:5432',
    undefined,
  ]);
});

test('elsewhere it is at the address of the status', () => {
  const at = (value: string) => gateway({ addresses: [{ type: 'IPAddress', value }] });
  assert.deepEqual(urls(at('192.0.2.1'), [service()]), [
    'http://192.0.2.1',
    'https://192.0.2.1',
    'tcp://192.0.2.1:5432',
    undefined,
  ]);
  assert.equal(urls(at('2001:db8::1'))[2], 'tcp://[2001:db8::1]:5432');
  assert.deepEqual(urls(gateway()), [undefined, undefined, undefined, undefined]);
});

test('what is not programmed says why, and the table has a line a listener', () => {
  const lastTransitionTime = '2026-01-01T00:00:00Z';
  const condition = {
    type: 'Programmed',
    status: 'False' as const,
    reason: 'R',
    message: 'no pod',
    lastTransitionTime,
  };
  const line = gatewayLine(gateway({ conditions: [condition] }), []);
  assert.deepEqual([line.programmed, line.message], [false, 'no pod']);
  const rows = gatewayTable([line]).trimEnd().split('\n');
  assert.equal(rows.length, 5);
  assert.match(rows[1] ?? '', /^shop +edge +istio +no +http HTTP\/80 +\* +-$/);
  assert.match(rows[2] ?? '', /^ +https HTTPS\/443 +\*\.example\.com +-$/);
});
