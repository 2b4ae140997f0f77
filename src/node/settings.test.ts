import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { DEFAULT_ENABLEMENT } from '../derive/enrolment.ts';
import { DEFAULT_ENROLMENT, DEFAULT_PROBE_SOURCE, readSettings } from './settings.ts';

const read = (env: Record<string, string>, exists: (path: string) => boolean = () => false) =>
  readSettings({ NODE_NAME: 'node-1', ...env }, (text) => parse(text) as unknown, exists);

test('without settings the agent is off, and everything has Istio`s default', () => {
  const settings = read({});
  assert.ok(settings.ok);
  assert.deepEqual(settings.value, {
    enabled: false,
    nodeName: 'node-1',
    enrolment: DEFAULT_ENROLMENT,
    capture: { dns: false, ipv6: true, probeSource: DEFAULT_PROBE_SOURCE, renewAtStart: false },
    paths: {
      zdsSocket: '/var/run/ztunnel/ztunnel.sock',
      cniSocket: '/var/run/istio-cni/pluginevent.sock',
      netnsFolders: ['/var/run/netns', '/run/netns'],
      hostPrefix: '',
      proc: '/proc',
    },
    switchToHostNetns: false,
    listen: { healthPort: 8000, metricsPort: 15014 },
    log: { format: 'plain', filter: 'info' },
  });
});

test('what Istio`s chart sets is understood', () => {
  const settings = read(
    {
      AMBIENT_ENABLED: 'true',
      AMBIENT_DNS_CAPTURE: 'true',
      AMBIENT_IPV6: 'false',
      AMBIENT_RECONCILE_POD_RULES_ON_STARTUP: '1',
      ALLOW_SWITCH_TO_HOST_NS: 'true',
      EXCLUDE_NAMESPACES: 'kube-system, legacy',
      POD_NAMESPACE: 'mesh',
      HOST_PROBE_SNAT_IP: '169.254.9.9',
      HOST_PROBE_SNAT_IPV6: 'FD00::1',
      ZTUNNEL_UDS_ADDRESS: '/run/z.sock',
      CNI_AGENT_RUN_DIR: '/run/cni',
      LOG_LEVEL: 'debug',
      LOG_FORMAT: 'json',
      AMBIENT_ENABLEMENT_SELECTOR: `
- podSelector:
    matchLabels: {istio.io/dataplane-mode: ambient}
- podSelector:
    matchExpressions: [{key: istio.io/dataplane-mode, operator: NotIn, values: [none]}]
  namespaceSelector:
    matchLabels: {istio.io/dataplane-mode: ambient}`,
    },
    (path) => path === '/host' || path === '/host/proc',
  );
  assert.ok(settings.ok);
  const { enrolment, capture, paths, switchToHostNetns, enabled, log } = settings.value;
  assert.deepEqual(enrolment, {
    excludedNamespaces: new Set(['kube-system', 'legacy']),
    systemNamespace: 'mesh',
    anySelector: DEFAULT_ENABLEMENT,
  });
  assert.deepEqual(capture, {
    dns: true,
    ipv6: false,
    probeSource: { v4: '169.254.9.9', v6: 'fd00::1' },
    renewAtStart: true,
  });
  assert.deepEqual(paths, {
    zdsSocket: '/run/z.sock',
    cniSocket: '/run/cni/pluginevent.sock',
    netnsFolders: ['/host/var/run/netns', '/host/run/netns', '/var/run/netns', '/run/netns'],
    hostPrefix: '/host',
    proc: '/host/proc',
  });
  assert.deepEqual([enabled, switchToHostNetns, log], [true, true, { format: 'json', filter: 'debug' }]);
});

test('every setting that cannot be used is told, not only the first', () => {
  const settings = readSettings(
    {
      AMBIENT_ENABLED: 'maybe',
      HOST_PROBE_SNAT_IP: 'fd00::1',
      HOST_PROBE_SNAT_IPV6: '169.254.9.9',
      HEALTH_PORT: '70000',
      LOG_FORMAT: 'xml',
      AMBIENT_ENABLEMENT_SELECTOR: '- podSelector: [',
    },
    (text) => parse(text) as unknown,
    () => false,
  );
  assert.deepEqual(settings.ok ? [] : settings.error.map((problem) => problem.split(/[: ]/)[0]), [
    'NODE_NAME',
    'LOG_FORMAT',
    'AMBIENT_ENABLED',
    'AMBIENT_ENABLEMENT_SELECTOR',
    'HOST_PROBE_SNAT_IP',
    'HOST_PROBE_SNAT_IPV6',
    'HEALTH_PORT',
  ]);
});

test('selectors that would enrol nobody are refused', () => {
  const settings = read({ AMBIENT_ENABLEMENT_SELECTOR: '[]' });
  assert.match(settings.ok ? '' : settings.error.join(), /empty/);
});
