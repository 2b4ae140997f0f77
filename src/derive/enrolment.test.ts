import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DEFAULT_ENABLEMENT,
  decideEnrolment,
  type EnrolmentPod,
  type EnrolmentRules,
  enrolmentPod,
  parseEnablement,
  redirectionOf,
} from './enrolment.ts';

const rules: EnrolmentRules = {
  excludedNamespaces: new Set(['kube-system']),
  systemNamespace: 'istio-system',
  anySelector: DEFAULT_ENABLEMENT,
};
const mode = (value: string) => ({ 'istio.io/dataplane-mode': value });
const pod = (changes: Partial<EnrolmentPod> = {}): EnrolmentPod => ({
  namespace: 'shop',
  labels: {},
  annotations: {},
  hostNetwork: false,
  ...changes,
});

const cases: { name: string; pod: EnrolmentPod; namespace: Record<string, string>; want: string }[] = [
  { name: 'a namespace that says ambient', pod: pod(), namespace: mode('ambient'), want: 'enrol' },
  { name: 'nobody says anything', pod: pod(), namespace: {}, want: 'notSelected' },
  { name: 'a namespace that says none', pod: pod(), namespace: mode('none'), want: 'notSelected' },
  { name: 'a pod that says ambient alone', pod: pod({ labels: mode('ambient') }), namespace: {}, want: 'enrol' },
  {
    name: 'ambient pod, none namespace',
    pod: pod({ labels: mode('ambient') }),
    namespace: mode('none'),
    want: 'enrol',
  },
  { name: 'opt-out of a pod', pod: pod({ labels: mode('none') }), namespace: mode('ambient'), want: 'notSelected' },
  {
    name: 'an unknown mode of a pod',
    pod: pod({ labels: mode('sidecar') }),
    namespace: mode('ambient'),
    want: 'enrol',
  },
  { name: 'host network', pod: pod({ hostNetwork: true }), namespace: mode('ambient'), want: 'hostNetwork' },
  {
    name: 'an injected sidecar',
    pod: pod({ annotations: { 'sidecar.istio.io/status': '' } }),
    namespace: mode('ambient'),
    want: 'sidecar',
  },
  {
    name: 'a wish for a sidecar that was not fulfilled',
    pod: pod({ labels: { 'sidecar.istio.io/inject': 'true' } }),
    namespace: mode('ambient'),
    want: 'enrol',
  },
  {
    name: 'an excluded namespace, before everything else',
    pod: pod({ namespace: 'kube-system', hostNetwork: true, labels: mode('ambient') }),
    namespace: mode('ambient'),
    want: 'excludedNamespace',
  },
  {
    name: 'ztunnel',
    pod: pod({ namespace: 'istio-system', labels: { app: 'ztunnel', ...mode('ambient') } }),
    namespace: {},
    want: 'nodeProxy',
  },
  {
    name: 'somebody else`s pod called ztunnel',
    pod: pod({ labels: { app: 'ztunnel' } }),
    namespace: mode('ambient'),
    want: 'enrol',
  },
];
for (const c of cases)
  test(`${c.name}: ${c.want}`, () => {
    const decided = decideEnrolment(rules, c.pod, c.namespace);
    assert.equal(decided.kind === 'enrol' ? 'enrol' : decided.reason, c.want);
    if (decided.kind === 'leaveOut') assert.ok(decided.text.length > 10);
  });

test('own selectors replace the defaults, the opt-out included', () => {
  const parsed = parseEnablement([
    { podSelector: { matchLabels: { mesh: 'yes' } } },
    { namespaceSelector: { matchExpressions: [{ key: 'team', operator: 'Exists' }] } },
  ]);
  assert.ok(parsed.ok);
  const own = { ...rules, anySelector: parsed.value };
  const decide = (labels: Record<string, string>, namespace: Record<string, string>) =>
    decideEnrolment(own, pod({ labels }), namespace).kind;
  assert.equal(decide({ mesh: 'yes' }, {}), 'enrol');
  assert.equal(decide(mode('none'), { team: 'a' }), 'enrol');
  assert.equal(decide(mode('ambient'), mode('ambient')), 'leaveOut');
});

test('what Istio`s chart writes equals the built-in default', () => {
  const parsed = parseEnablement([
    { podSelector: { matchLabels: mode('ambient') } },
    {
      podSelector: { matchExpressions: [{ key: 'istio.io/dataplane-mode', operator: 'NotIn', values: ['none'] }] },
      namespaceSelector: { matchLabels: mode('ambient') },
    },
  ]);
  assert.deepEqual(parsed, { ok: true, value: DEFAULT_ENABLEMENT });
});

for (const [bad, why] of [
  [[], /empty/],
  [undefined, /empty/],
  [['x'], /not an object/],
  [[{ podSelector: {} }, { selector: {} }], /selector 2: `selector` is unknown/],
  [[{ podSelector: { matchExpressions: [{ key: 'a', operator: 'Like', values: ['b'] }] } }], /not a label selector/],
] as const)
  test(`selectors \`${JSON.stringify(bad)}\` are refused`, () => {
    const parsed = parseEnablement(bad);
    assert.match(parsed.ok ? '' : parsed.error, why);
  });

test('annotations choose what is captured', () => {
  const { redirection, warnings } = redirectionOf(
    {
      'ambient.istio.io/bypass-inbound-capture': 'true',
      'ambient.istio.io/dns-capture': 'F',
      'istio.io/reroute-virtual-interfaces': 'net1, tap0,',
    },
    { captureDns: true },
  );
  assert.deepEqual(redirection, { captureInbound: false, captureDns: false, virtualInterfaces: ['net1', 'tap0'] });
  assert.deepEqual(warnings, []);
});

test('annotations that cannot be read are ignored with a warning and never reach a rule', () => {
  const { redirection, warnings } = redirectionOf(
    {
      'ambient.istio.io/bypass-inbound-capture': 'yes',
      'ambient.istio.io/dns-capture': '',
      'istio.io/reroute-virtual-interfaces': 'eth0" accept; #,a_name_that_is_too_long,ok0',
    },
    { captureDns: true },
  );
  assert.deepEqual(redirection, { captureInbound: true, captureDns: true, virtualInterfaces: ['ok0'] });
  assert.equal(warnings.length, 4);
});

test('a Pod object is read totally', () => {
  assert.deepEqual(enrolmentPod({}), { namespace: '', labels: {}, annotations: {}, hostNetwork: false });
  assert.deepEqual(
    enrolmentPod({ metadata: { namespace: 'a', labels: { b: 'c', d: 1 } }, spec: { hostNetwork: true } }),
    {
      namespace: 'a',
      labels: { b: 'c' },
      annotations: {},
      hostNetwork: true,
    },
  );
});
