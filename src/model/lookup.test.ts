import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ANYBODY, chooseService, serviceAt } from './lookup.ts';
import { plainWorld } from './plain-world.ts';
import { cidr, ip, service } from './testing/builders.ts';

const a = service('a', { namespace: 'a', canonical: false });
const b = service('b', { namespace: 'b', canonical: true });
const c = service('c', { namespace: 'c', canonical: true });
const d = service('d', { namespace: 'd', canonical: false, visibility: 'namespace' });

test('among services of one address: own namespace, last canonical, preferred namespace, first', () => {
  assert.equal(chooseService([a, b, c], { namespace: 'a' }), a);
  assert.equal(chooseService([a, b, c], { namespace: 'x' }), c);
  assert.equal(chooseService([{ ...b, canonical: false }, a], { namespace: 'x', preferredNamespace: 'a' }), a);
  assert.equal(chooseService([a, { ...b, canonical: false }], { namespace: 'x' }), a);
  assert.equal(chooseService([], { namespace: 'x' }), undefined);
});
test('a namespace-visible service is for its namespace, and for lookups of nobody in particular', () => {
  assert.equal(chooseService([d], { namespace: 'x' }), undefined);
  assert.equal(chooseService([d], { namespace: 'd' }), d);
  assert.equal(chooseService([d], ANYBODY), d);
});
test('ranges: own namespace before longer prefix before canonical; exact addresses before all', () => {
  const range = (name: string, text: string, canonical = false) =>
    service(name, { namespace: name, canonical, cidrVips: [{ network: '', range: cidr(text) }] });
  const [wide, long, other] = [
    range('wide', '10.0.0.0/8'),
    range('long', '10.1.0.0/16'),
    range('other', '10.1.0.0/16', true),
  ];
  const find = (from: string, ...services: ReturnType<typeof service>[]) =>
    serviceAt(plainWorld('', [], services, []), '', ip('10.1.2.3'), { namespace: from })?.name;
  assert.equal(find('x', wide, long), 'long');
  assert.equal(find('wide', wide, long), 'wide');
  assert.equal(find('x', other, long), 'other');
  assert.equal(find('x', wide, long, service('vip', { vips: [{ network: '', ip: ip('10.1.2.3') }] })), 'vip');
  assert.equal(find('x', { ...wide, cidrVips: [{ network: 'n2', range: cidr('10.0.0.0/8') }] }), undefined);
});
