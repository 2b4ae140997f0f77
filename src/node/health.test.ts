import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentMetrics, answerHealth, Readiness } from './health.ts';

const get = (path: string, accept?: string) => ({ method: 'GET', path, accept, body: '' });

test('alive from the start, ready when every part is', () => {
  const readiness = new Readiness('pods', 'zds');
  assert.equal(answerHealth(get('/healthz'), readiness).status, 200);
  assert.deepEqual(answerHealth(get('/readyz'), readiness), { status: 503, body: 'not ready: pods, zds' });
  readiness.ready('pods');
  readiness.ready('zds');
  readiness.ready('zds');
  assert.deepEqual(answerHealth(get('/readyz'), readiness), { status: 200, body: 'ok' });
  assert.equal(answerHealth(get('/'), readiness).status, 404);
  assert.equal(answerHealth({ ...get('/healthz'), method: 'POST' }, readiness).status, 405);
});

test('metrics show the proxies and the pods at the time of the scrape', () => {
  const counts = { enrolled: 1, pending: 0, failed: 0 };
  const metrics = new AgentMetrics(() => counts);
  metrics.proxies.set(2);
  counts.enrolled = 7;
  const { status, body, type } = metrics.answer(get('/metrics', 'application/openmetrics-text'));
  assert.equal(status, 200);
  assert.match(type ?? '', /openmetrics/);
  assert.match(body, /^ztunnel_connected 2$/m);
  assert.match(body, /^istio_cni_ambient_pods\{state="enrolled"\} 7$/m);
  assert.match(metrics.answer(get('/metrics')).type ?? '', /text\/plain/);
  assert.equal(metrics.answer(get('/other')).status, 404);
});
