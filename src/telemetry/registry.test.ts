import assert from 'node:assert/strict';
import { test } from 'node:test';
import { acceptsOpenMetrics } from './openmetrics.ts';
import { registerProcessMetrics } from './process-metrics.ts';
import { Registry } from './registry.ts';

test('families, samples and end marker in the order and form of the exposition', () => {
  const registry = new Registry();
  const build = registry.gauges('istio_build', 'Build info', ['component', 'tag']);
  build.labels('ztunnel', 'a"b\\c\nd').set(1);
  registry.counter('workload_manager_proxies_started', 'Started').inc(3);
  registry.counters('istio_dns_requests', 'Never asked', ['t']);
  const seconds = registry.histograms('istio_d_seconds', 'Time', 'seconds', ['t'], [0.0005, 1]);
  seconds.labels('A').observe(0.0005);
  seconds.labels('A').observe(0.5);
  seconds.labels('A').observe(7.25);
  assert.equal(
    registry.render(),
    `# HELP istio_build Build info.
# TYPE istio_build gauge
istio_build{component="ztunnel",tag="a\\"b\\\\c\\nd"} 1
# HELP workload_manager_proxies_started Started.
# TYPE workload_manager_proxies_started counter
workload_manager_proxies_started_total 3
# HELP istio_d_seconds Time.
# TYPE istio_d_seconds histogram
# UNIT istio_d_seconds seconds
istio_d_seconds_sum{t="A"} 7.7505
istio_d_seconds_count{t="A"} 3
istio_d_seconds_bucket{t="A",le="0.0005"} 1
istio_d_seconds_bucket{t="A",le="1.0"} 2
istio_d_seconds_bucket{t="A",le="+Inf"} 3
# EOF
`,
  );
});

test('too many label sets are counted together', () => {
  const registry = new Registry(2);
  const family = registry.counters('x', 'X', ['peer']);
  for (let i = 0; i < 100; i++) family.labels(String(i)).inc();
  assert.match(registry.render(), /x_total\{peer="0"\} 1\nx_total\{peer="1"\} 1\nx_total\{peer="overflow"\} 98\n# EOF/);
});

test('the process is measured when somebody asks', () => {
  const registry = new Registry();
  registerProcessMetrics(registry);
  const text = registry.render();
  assert.match(text, /# TYPE process_open_fds gauge\nprocess_open_fds [1-9]\d*\n/);
  assert.match(text, /\nprocess_max_fds [1-9]\d*\n/);
});

for (const [accept, wanted] of [
  [undefined, false],
  ['*/*', false],
  [
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5',
    true,
  ],
  ['text/plain, application/openmetrics-text;q=0', false],
  ['application/OpenMetrics-Text', true],
] as const)
  test(`Accept \`${accept}\`: OpenMetrics ${wanted}`, () => assert.equal(acceptsOpenMetrics(accept), wanted));
