import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatLabelSelector,
  matchesFields,
  matchesLabels,
  parseFieldSelector,
  parseLabelSelector,
  selectorFromObject,
} from './selectors.ts';
import { KubeError } from './types.ts';

const labels = { app: 'shop', tier: 'web', weight: '7', 'example.com/part': 'a' };
const cases: [selector: string, matches: boolean][] = [
  ['', true],
  ['app=shop', true],
  ['app==shop,tier!=db', true],
  ['app=other', false],
  ['absent!=x', true],
  ['app in (x, shop)', true],
  ['app notin (shop)', false],
  ['absent notin (x)', true],
  ['tier', true],
  ['!tier', false],
  ['!absent', true],
  ['weight>5,weight<8', true],
  ['weight>7', false],
  ['app>1', false],
  ['example.com/part=a', true],
  ['constructor', false],
];
for (const [selector, want] of cases)
  test(`\`${selector}\` ${want ? 'matches' : 'does not match'}`, () => {
    assert.equal(matchesLabels(parseLabelSelector(selector), labels), want);
    const again = parseLabelSelector(formatLabelSelector(parseLabelSelector(selector)));
    assert.deepEqual(again, parseLabelSelector(selector));
  });

for (const bad of ['a=b=c', 'a in b', 'a in (b', '=b', 'a,,b', '-a', 'a=b c', 'x>y', 'a in ((b))', 'a/b/c=d'])
  test(`\`${bad}\` is refused`, () => assert.throws(() => parseLabelSelector(bad), KubeError));

test('a LabelSelector object means what its text means', () => {
  const selector = selectorFromObject({
    matchLabels: { app: 'shop' },
    matchExpressions: [
      { key: 'tier', operator: 'In', values: ['web'] },
      { key: 'gone', operator: 'DoesNotExist' },
    ],
  });
  assert.equal(formatLabelSelector(selector), 'app=shop,tier=web,!gone');
  assert.throws(
    () => selectorFromObject({ matchExpressions: [{ key: 'a', operator: 'Like', values: ['b'] }] }),
    KubeError,
  );
  assert.throws(() => selectorFromObject({ matchExpressions: [{ key: 'a', operator: 'In' }] }), KubeError);
});

test('field selectors compare by path, absent fields are empty', () => {
  const pod = { metadata: { name: 'a' }, spec: { nodeName: 'node-1', hostNetwork: true } };
  const matches = (text: string) => matchesFields(parseFieldSelector(text), pod);
  assert.equal(matches('metadata.name=a,spec.nodeName==node-1'), true);
  assert.equal(matches('metadata.name!=a'), false);
  assert.equal(matches('status.phase='), true);
  assert.equal(matches('spec.hostNetwork=true'), true);
  assert.equal(matches('spec=x'), false);
  assert.deepEqual(parseFieldSelector('a=b\\,c'), [{ field: 'a', operator: 'equals', value: 'b,c' }]);
  assert.throws(() => parseFieldSelector('a'), KubeError);
  assert.throws(() => parseFieldSelector('a=b=c'), KubeError);
});

test('any text is a selector or a KubeError', () =>
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const parse of [parseLabelSelector, parseFieldSelector])
        try {
          parse(text);
        } catch (error) {
          assert.ok(error instanceof KubeError);
        }
    }),
  ));
