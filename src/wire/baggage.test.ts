import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { someWorkload } from '../model/testing/arbitrary.ts';
import { workload } from '../model/testing/builders.ts';
import { encodeBaggage, parseBaggage } from './baggage.ts';

test('members come in order, empty ones are left out', () => {
  const order = workload('order-1', {
    workloadType: 'deployment',
    workloadName: 'order',
    canonicalName: 'order',
    canonicalRevision: 'v2',
    locality: { region: 'kr', zone: '', subzone: 'rack-1' },
  });
  assert.equal(
    encodeBaggage(order),
    'k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.deployment.name=order,service.name=order,service.version=v2,cloud.region=kr',
  );
});
test('what was written is read', () =>
  fc.assert(
    fc.property(someWorkload, (w) => {
      const read = parseBaggage(encodeBaggage(w));
      assert.deepEqual(read, {
        clusterId: w.clusterId || undefined,
        namespace: w.namespace || undefined,
        workloadName: w.workloadName || undefined,
        workloadType: w.workloadType,
        canonicalName: w.canonicalName || undefined,
        canonicalRevision: w.canonicalRevision || undefined,
        region: w.locality.region || undefined,
        zone: w.locality.zone || undefined,
      });
    }),
  ));
test('several headers are one list; unknown and empty members are passed over', () => {
  const read = parseBaggage(['k8s.namespace.name=a, foo=bar', 'k8s.job.name=j,service.name=,junk']);
  assert.deepEqual(
    [read.namespace, read.workloadType, read.workloadName, read.canonicalName],
    ['a', 'job', 'j', undefined],
  );
  assert.equal(parseBaggage(undefined).namespace, undefined);
});
test('any text is read without a throw', () =>
  fc.assert(fc.property(fc.string(), (text) => assert.ok(parseBaggage(text)))));
