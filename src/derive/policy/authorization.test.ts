import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NOTHING, type PolicyRule } from '../../model/policy.ts';
import { parseAuthorizationPolicy } from '../objects/security.ts';
import type { Json } from '../read.ts';
import { type Conversion, convertAuthorizationPolicy } from './authorization.ts';

const parse = (spec: Json, annotations: Json = {}) =>
  parseAuthorizationPolicy({ metadata: { name: 'p', namespace: 'shop', annotations, generation: 2 }, spec });
const convert = (spec: Json, annotations?: Json, dryRun = false): Conversion =>
  convertAuthorizationPolicy(parse(spec, annotations), 'istio-system', dryRun);
function enforced(spec: Json) {
  const conversion = convert(spec);
  assert.equal(conversion.kind, 'enforced');
  return conversion as Extract<Conversion, { kind: 'enforced' }>;
}
const rulesOf = (spec: Json): readonly PolicyRule[] => enforced(spec).policy.anyRule;

test('scope follows selector and namespace', () => {
  const scope = (namespace: string, spec: Json): string => {
    const policy = parseAuthorizationPolicy({ metadata: { name: 'p', namespace }, spec });
    const made = convertAuthorizationPolicy(policy, 'istio-system', false);
    return made.kind === 'enforced' ? made.policy.scope : made.kind;
  };
  assert.equal(scope('shop', {}), 'namespace');
  assert.equal(scope('istio-system', {}), 'global');
  assert.equal(scope('shop', { selector: { matchLabels: { app: 'x' } } }), 'workloadSelector');
  assert.equal(scope('shop', { selector: {} }), 'workloadSelector');
});

test('no rules match nothing, an empty rule matches everything', () => {
  assert.deepEqual(rulesOf({}), []);
  assert.deepEqual(rulesOf({ rules: [{}] }), [{ everyClause: [] }]);
});

test('every layer-4 field becomes its condition', () => {
  const [rule] = rulesOf({
    rules: [
      {
        to: [{ operation: { ports: ['80', '443'], notPorts: ['81'] } }],
        from: [
          {
            source: {
              principals: ['*'],
              notPrincipals: ['td/ns/a/*'],
              namespaces: ['*-dev'],
              notNamespaces: ['prod'],
              serviceAccounts: ['own', 'other/sa'],
              notServiceAccounts: ['no'],
              ipBlocks: ['10.0.0.0/8', '::1'],
              notIpBlocks: ['10.1.2.3'],
            },
          },
        ],
        when: [{ key: 'destination.ip', values: ['10.9.0.0/16'], notValues: ['10.9.9.9'] }],
      },
    ],
  });
  assert.deepEqual(rule?.everyClause, [
    {
      anyMatch: [
        {
          ...NOTHING,
          destinationPorts: [
            { kind: 'port', port: 80 },
            { kind: 'port', port: 443 },
          ],
          notDestinationPorts: [{ kind: 'port', port: 81 }],
        },
      ],
    },
    {
      anyMatch: [
        {
          ...NOTHING,
          principals: [{ kind: 'present' }],
          notPrincipals: [{ kind: 'prefix', value: 'td/ns/a/' }],
          namespaces: [{ kind: 'suffix', value: '-dev' }],
          notNamespaces: [{ kind: 'exact', value: 'prod' }],
          serviceAccounts: [
            { kind: 'exact', value: 'shop/own' },
            { kind: 'exact', value: 'other/sa' },
          ],
          notServiceAccounts: [{ kind: 'exact', value: 'shop/no' }],
          sourceIps: [
            { kind: 'cidr', range: { ip: '10.0.0.0', length: 8 } },
            { kind: 'cidr', range: { ip: '::1', length: 128 } },
          ],
          notSourceIps: [{ kind: 'cidr', range: { ip: '10.1.2.3', length: 32 } }],
        },
      ],
    },
    {
      anyMatch: [
        {
          ...NOTHING,
          destinationIps: [{ kind: 'cidr', range: { ip: '10.9.0.0', length: 16 } }],
          notDestinationIps: [{ kind: 'cidr', range: { ip: '10.9.9.9', length: 32 } }],
        },
      ],
    },
  ]);
});

const METHOD = { to: [{ operation: { methods: ['GET'] } }] };
const PORT = { to: [{ operation: { ports: ['80'] } }] };

test('an ALLOW rule about requests is left out whole; the policy stays and refuses', () => {
  const { policy, warning } = enforced({ rules: [METHOD, PORT] });
  assert.equal(policy.anyRule.length, 1);
  assert.match(warning, /found: methods.*allows less/);
  assert.deepEqual(rulesOf({ rules: [METHOD] }), []);
});

test('a DENY rule about requests keeps its layer-4 part, and says whether anything is left', () => {
  const mixed = enforced({ action: 'DENY', rules: [{ to: [{ operation: { methods: ['GET'], ports: ['80'] } }] }] });
  assert.deepEqual(mixed.policy.anyRule[0]?.everyClause[0]?.anyMatch, [
    { ...NOTHING, destinationPorts: [{ kind: 'port', port: 80 }] },
  ]);
  assert.match(mixed.warning, /denies more/);
  const empty = enforced({ action: 'DENY', rules: [METHOD] });
  assert.deepEqual(empty.policy.anyRule, [{ everyClause: [{ anyMatch: [NOTHING] }] }]);
  assert.match(empty.warning, /no effect/);
});

test('all unsupported attributes are listed, sorted', () => {
  const { warning } = enforced({
    rules: [
      {
        from: [{ source: { requestPrincipals: ['a'], notRemoteIpBlocks: ['1.1.1.1'], trustDomains: ['td'] } }],
        to: [{ operation: { hosts: ['h'], notPaths: ['/x'] } }],
        when: [{ key: 'request.headers[x]', values: ['1'] }],
      },
    ],
  });
  const found = 'hosts, notPaths, notRemoteIpBlocks, request.headers[x], requestPrincipals, trustDomains';
  assert.ok(warning.includes(`(found: ${found})`), warning);
});

test('AUDIT, CUSTOM and dry-run are not sent, and say so', () => {
  for (const action of ['AUDIT', 'CUSTOM', 'WHATEVER']) {
    const made = convert({ action, rules: [{}] });
    assert.ok(made.kind === 'rejected' && made.message.includes(action));
  }
  assert.equal(convert({ rules: [{}] }, { 'istio.io/dry-run': 'true' }).kind, 'rejected');
  const enabled = convert({ rules: [{}] }, { 'istio.io/dry-run': 'true' }, true);
  assert.ok(enabled.kind === 'enforced' && enabled.policy.dryRun);
});

test('what cannot be read never lets an ALLOW policy say more', () => {
  const matchOf = (source: Json, action = 'ALLOW') =>
    rulesOf({ action, rules: [{ from: [{ source }] }] })[0]?.everyClause[0]?.anyMatch[0];
  const principal = { principals: ['td/ns/a/sa/b'] };
  assert.deepEqual(matchOf({ ...principal, ipBlocks: ['nonsense'] }), NOTHING, 'emptied list');
  assert.deepEqual(matchOf({ ...principal, notIpBlocks: ['10.0.0.1', 'nonsense'] }), NOTHING, 'lost exception');
  assert.equal(matchOf({ ...principal, ipBlocks: ['10.0.0.1', 'nonsense'] })?.sourceIps.length, 1, 'one good is left');
  assert.equal(matchOf({ ...principal, notIpBlocks: ['nonsense'] }, 'DENY')?.principals.length, 1, 'DENY may be wider');
  assert.match(enforced({ rules: [{ from: [{ source: { ipBlocks: ['nonsense'] } }] }] }).warning, /nonsense/);
});

test('a rule of the wrong shape is not read as one without conditions', () => {
  for (const rule of [
    { from: 'everyone' },
    { from: [{ source: 'everyone' }] },
    { from: [{}] },
    { from: [{ source: { principals: 'x' } }] },
    { from: [{ source: { principals: [7] } }] },
    { when: [{ key: 'source.ip', values: '10.0.0.1' }] },
    { from: [{ source: { principal: ['misspelt'] } }] },
  ]) {
    const { policy, warning } = enforced({ rules: [rule] });
    assert.deepEqual(policy.anyRule, [], JSON.stringify(rule));
    assert.notEqual(warning, '', JSON.stringify(rule));
  }
});
