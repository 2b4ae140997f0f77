import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { matchRoute } from '../../model/http/match-route.ts';
import { requestFacts } from '../../model/http/request.ts';
import { buildRouteTable } from '../../model/http/route-table.ts';
import { someRequest, someRoute } from '../../model/http/testing/arbitrary.ts';
import { request, route, routeRule } from '../../model/http/testing/builders.ts';
import { HostRouters } from './host-routers.ts';

const at = (routes: readonly ReturnType<typeof route>[]) => routes.map((source) => ({ source, hosts: source.hosts }));

test('the same routes as the definition chooses, also after changes that keep a part', () =>
  fc.assert(
    fc.property(
      fc.array(fc.array(someRoute, { maxLength: 6 }), { minLength: 1, maxLength: 4 }),
      fc.array(someRequest, { minLength: 1, maxLength: 5 }),
      fc.nat(),
      (steps, requests, seed) => {
        const routers = new HostRouters();
        let held: ReturnType<typeof route>[] = [];
        for (const step of steps) {
          // Some of what was there stays, as the same object.
          held = [...held.filter((_, i) => (i + seed) % 2 === 0), ...step];
          const compiled = routers.compile(at(held));
          const table = buildRouteTable(held);
          for (const one of requests) {
            const wanted = matchRoute(table, requestFacts(one));
            const found = compiled?.router.match(one) ?? { kind: 'notFound', why: 'noHost' };
            assert.equal(found.kind, wanted.kind);
            if (found.kind === 'matched' && wanted.kind === 'matched') {
              assert.equal(found.entry.rule, wanted.entry.rule);
              assert.equal(found.entry.matchIndex, wanted.entry.matchIndex);
            }
          }
        }
      },
    ),
    { numRuns: 150 },
  ));

test('a change of one host leaves what was compiled of the others', () => {
  const routers = new HostRouters();
  const [a, b] = [
    route('a', [routeRule('a')], { hosts: ['a.test'] }),
    route('b', [routeRule('b')], { hosts: ['b.test'] }),
  ];
  const before = routers.compile(at([a, b]))?.router.match(request({ authority: 'a.test' }));
  const after = routers.compile(at([a, route('b', [routeRule('new')], { hosts: ['b.test'] })]))?.router;
  assert.equal(after?.match(request({ authority: 'a.test' })), before, 'the very same entry');
  const changed = after?.match(request({ authority: 'b.test' }));
  assert.equal(changed?.kind === 'matched' && changed.entry.rule.name, 'new');
});
