import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { acceptsGzip, type HttpHandler, metricsHandler, NOT_FOUND, serveHttp, text } from './http-endpoint.ts';
import { configureLogging } from './log.ts';
import { ReadinessTasks, readinessHandler } from './readiness.ts';
import { Registry } from './registry.ts';

configureLogging({ filter: 'off' });

async function withServer(
  handler: HttpHandler,
  body: (port: number) => Promise<void>,
  headTimeoutMs?: number,
): Promise<void> {
  const endpoint = await serveHttp(['127.0.0.1'], 0, handler, headTimeoutMs);
  try {
    await body(endpoint.ports[0] as number);
  } finally {
    endpoint.close();
  }
}
/** Sends bytes as they are; returns what came until the server closed. */
function raw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let got = '';
    socket.on('data', (d) => {
      got += d;
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(got));
  });
}
const get = (port: number, path: string, headers: Record<string, string> = {}) =>
  fetch(`http://127.0.0.1:${port}${path}`, { headers });

test('metrics: both paths, the form asked for, end marker', async () => {
  const registry = new Registry();
  registry.counter('c', 'C').inc();
  await withServer(metricsHandler(registry), async (port) => {
    for (const path of ['/metrics', '/stats/prometheus']) {
      const plain = await get(port, path);
      assert.equal(plain.status, 200);
      assert.equal(plain.headers.get('content-type'), 'text/plain; charset=utf-8');
      assert.equal(await plain.text(), '# HELP c C.\n# TYPE c counter\nc_total 1\n# EOF\n');
    }
    const open = await get(port, '/metrics', { accept: 'application/openmetrics-text;version=1.0.0' });
    assert.equal(open.headers.get('content-type'), 'application/openmetrics-text;charset=utf-8;version=1.0.0');
    assert.equal((await get(port, '/other')).status, 404);
  });
});

test('large answers are compressed for who takes it', async () => {
  const body = 'x'.repeat(5000);
  await withServer(
    () => text(200, body),
    async (port) => {
      const head = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n';
      const packed = await new Promise<Buffer>((resolve) => {
        const chunks: Buffer[] = [];
        const socket = connect(port, '127.0.0.1', () => socket.write(`${head}Accept-Encoding: br, gzip\r\n\r\n`));
        socket.on('data', (d) => chunks.push(d));
        socket.on('close', () => resolve(Buffer.concat(chunks)));
      });
      const cut = packed.indexOf('\r\n\r\n') + 4;
      assert.match(packed.subarray(0, cut).toString(), /content-encoding: gzip/i);
      assert.equal(gunzipSync(packed.subarray(cut)).toString(), body);
      assert.doesNotMatch(await raw(port, `${head}Accept-Encoding: gzip;q=0\r\n\r\n`), /content-encoding/i);
    },
  );
  assert.equal(acceptsGzip('deflate, GZIP;q=0.5'), true);
  assert.equal(acceptsGzip(undefined), false);
});

test('an answer in pieces', async () => {
  async function* pieces() {
    for (let i = 0; i < 1000; i++) yield `${i},`.padEnd(1000);
  }
  await withServer(
    () => ({ status: 200, body: pieces() }),
    async (port) => assert.equal((await (await get(port, '/')).text()).length, 1_000_000),
  );
});

test('a handler that fails is a 500 that says nothing', async () => {
  await withServer(
    () => {
      throw new Error('inner secret');
    },
    async (port) => {
      const answer = await get(port, '/');
      assert.equal(answer.status, 500);
      assert.doesNotMatch(await answer.text(), /secret/);
    },
  );
});

test('rubbish and oversized heads are refused, the next client is served', async () => {
  await withServer(
    () => text(200, 'fine'),
    async (port) => {
      assert.match(await raw(port, 'rubbish\r\n\r\n'), /^HTTP\/1\.1 400/);
      assert.match(await raw(port, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(9000)}\r\n\r\n`), /^HTTP\/1\.1 431/);
      assert.equal((await get(port, '/')).status, 200);
    },
  );
});

test('a head that does not end in time is given up, another client is served meanwhile', async () => {
  await withServer(
    () => text(200, 'fine'),
    async (port) => {
      const slow = raw(port, 'GET / HTTP/1.1\r\nHo');
      assert.equal(await (await get(port, '/')).text(), 'fine');
      assert.match(await slow, /408|^$/);
    },
    100,
  );
});

test('a port that is taken is an error, also when only one of the hosts has it', async () => {
  const first = await serveHttp(['127.0.0.1'], 0, () => NOT_FOUND);
  const port = first.ports[0] as number;
  await assert.rejects(
    serveHttp(['127.0.0.2', '127.0.0.1'], port, () => NOT_FOUND),
    /not listening on port/,
  );
  first.close();
  const again = await serveHttp(['127.0.0.1', '240.0.0.1'], port, () => NOT_FOUND);
  assert.deepEqual(again.ports, [port], 'an address that the machine lacks is left out');
  again.close();
});

test('readiness: pending tasks by name, then ready; only GET, only its path', async () => {
  const tasks = new ReadinessTasks();
  const state = tasks.task('state manager');
  const proxy = tasks.task('proxy');
  await withServer(readinessHandler(tasks), async (port) => {
    const pending = await get(port, '/healthz/ready');
    assert.equal(pending.status, 500);
    assert.match(await pending.text(), /state manager, proxy/);
    state.ready();
    proxy.ready();
    const ready = await get(port, '/healthz/ready');
    assert.deepEqual([ready.status, (await ready.text()).trim()], [200, 'ready']);
    proxy.pending();
    assert.match(await (await get(port, '/healthz/ready')).text(), /: proxy$/m);
    assert.equal((await fetch(`http://127.0.0.1:${port}/healthz/ready`, { method: 'POST' })).status, 405);
    assert.equal((await get(port, '/')).status, 404);
  });
});
