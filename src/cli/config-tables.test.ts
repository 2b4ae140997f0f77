import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConfigDump } from './config-dump.ts';
import { certificateTable, policyTable, serviceTable, workloadTable } from './config-tables.ts';

// The rows of two pods, one service and one policy, as the real command printed them for the same dump.
const dump: ConfigDump = {
  workloads: [
    {
      uid: 'c1//v1/Pod/shop/payment-1',
      name: 'payment-1',
      namespace: 'shop',
      workloadIps: ['10.99.0.12'],
      node: 'n2',
      protocol: 'HBONE',
    },
    {
      uid: 'c1//v1/Pod/shop/order-1',
      name: 'order-1',
      namespace: 'shop',
      workloadIps: ['10.99.0.11'],
      node: 'n1',
      protocol: 'HBONE',
    },
  ],
  services: [
    {
      name: 'payment',
      namespace: 'shop',
      hostname: 'payment.shop.svc.cluster.local',
      vips: ['/10.96.0.12'],
      endpoints: { a: { workloadUid: 'a', status: 'Healthy' } },
    },
  ],
  policies: [{ name: 'no-9000', namespace: 'shop', action: 'Deny', scope: 'WorkloadSelector' }],
  certificates: [
    {
      identity: 'spiffe://cluster.local/ns/shop/sa/payment',
      state: 'Available',
      certChain: [
        {
          serialNumber: '271676055104741785552467469040731750696653685944',
          validFrom: '2026-11-21T06:20:15Z',
          expirationTime: '2026-11-22T06:20:15Z',
        },
      ],
      rootCerts: [
        {
          serialNumber: '443157098868639100276244936351886782195526409160',
          validFrom: '2026-05-01T22:11:20Z',
          expirationTime: '2300-02-14T22:11:20Z',
        },
      ],
    },
  ],
  workloadState: {},
};

test('workloads, services and policies are listed with the columns and widths that users of istioctl know', () => {
  assert.equal(
    workloadTable(dump),
    'NAMESPACE POD NAME  ADDRESS    NODE WAYPOINT PROTOCOL\nshop      order-1   10.99.0.11 n1   None     HBONE\nshop      payment-1 10.99.0.12 n2   None     HBONE\n',
  );
  assert.equal(
    serviceTable(dump),
    'NAMESPACE SERVICE NAME SERVICE VIP WAYPOINT ENDPOINTS\nshop      payment      10.96.0.12  None     1/1\n',
  );
  assert.equal(
    policyTable(dump),
    'NAMESPACE POLICY NAME ACTION SCOPE\nshop      no-9000     Deny   WorkloadSelector\n',
  );
});

test('certificates show serial numbers in hexadecimal and whether they are valid now', () => {
  const text = certificateTable(dump, new Date('2026-11-21T07:00:00Z'));
  const [head, leaf, root] = text.split('\n');
  assert.equal(
    head,
    'CERTIFICATE NAME                              TYPE     STATUS        VALID CERT     SERIAL NUMBER                                NOT AFTER                NOT BEFORE',
  );
  assert.equal(
    leaf,
    'spiffe://cluster.local/ns/shop/sa/payment     Leaf     Available     true           2f96602a12c1e5a2b06ad9dd3251a705e7f004b8     2026-11-22T06:20:15Z     2026-11-21T06:20:15Z',
  );
  assert.match(root ?? '', /Root {5}Available {5}true {11}4d9fda019e00b0343a841dd8edbf3c5c6c9a1bc8/);
  assert.match(certificateTable(dump, new Date('2026-11-23T00:00:00Z')), /Leaf {5}Available {5}false/);
});

test('filters narrow the rows', () => {
  assert.equal(workloadTable(dump, { workloadNode: 'n2' }).trim().split('\n').length, 2);
  assert.equal(workloadTable(dump, { address: '10.99.0.11' }).includes('payment-1'), false);
});
