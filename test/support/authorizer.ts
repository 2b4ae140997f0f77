// A program: an external authorizer over HTTP and gRPC. What it decides stands in the request's header `x-authz`; what it
// saw goes back in `x-seen`. Prints `listening <http port> <grpc port>`. In a pod: gRPC on $PORT.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serveGrpc } from './answer-grpc.ts';
import { CHECK_REQUEST, CHECK_RESPONSE, decode, encode, type Shaped } from './proto-shapes.ts';

const overHttp = createServer((request, response) => {
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces).toString();
    const { method, url, headers } = request;
    switch (headers['x-authz']) {
      case 'allow':
        response.setHeader('x-user', 'ann');
        response.setHeader('x-envoy-auth-headers-to-remove', 'cookie, host');
        response.setHeader('x-seen', JSON.stringify({ method, url, headers, body }));
        response.setHeader('x-other', 'not asked for');
        response.setHeader('set-cookie', ['a=1', 'b=2']);
        response.end();
        return;
      case 'redirect':
        response.writeHead(302, { location: '/login', 'x-reason': 'no session', 'x-secret': 's' });
        response.end('go there');
        return;
      case 'error':
        response.writeHead(503).end();
        return;
      case 'slow':
        return;
      default:
        response.writeHead(403, { 'x-reason': 'nobody' });
        response.end('denied');
    }
  });
});

const set = (key: string, value: string, more: Shaped = {}): Shaped => ({ header: { key, value }, ...more });

const overGrpc = serveGrpc({
  '/envoy.service.auth.v3.Authorization/Check': (message) => {
    const check = decode(CHECK_REQUEST, message);
    const { http } = (check.attributes as Shaped).request as { http: Shaped };
    const headers = http.headers as { key: string; value: string }[];
    const wanted = headers.find(({ key }) => key === 'x-authz')?.value;
    switch (wanted) {
      case 'allow':
        return encode(CHECK_RESPONSE, {
          status: {},
          ok: {
            headers: [
              set('X-Seen', JSON.stringify(check)),
              set('x-user', 'ann'),
              set('x-list', 'more', { append: { value: true } }),
              set('x-absent', 'kept', { action: 1 }),
              set('x-present', 'changed', { action: 3 }),
              set('x-missing', 'no', { action: 3 }),
              set('host', 'evil.example'),
              set('content-length', '1'),
              set(':path', '/evil'),
              set('x-split', 'a\r\nx-evil: 1'),
            ],
            remove: ['cookie', 'host', ':path'],
            toDownstream: [set('x-policy', 'p1')],
          },
        });
      case 'garbage':
        return Uint8Array.of(0x0a, 0x7f, 1);
      case 'error':
        return 13;
      case 'slow':
        return undefined;
      case 'bare':
        return encode(CHECK_RESPONSE, { status: { code: 7 } });
      default:
        return encode(CHECK_RESPONSE, {
          status: { code: 7 },
          denied: { status: { code: 401 }, headers: [set('x-reason', 'nobody')], body: 'denied' },
        });
    }
  },
});

const [grpcPort, host] = process.env.PORT === undefined ? [0, '127.0.0.1'] : [Number(process.env.PORT), '0.0.0.0'];
overHttp.listen(0, '127.0.0.1', () =>
  overGrpc.listen(grpcPort, host, () => {
    const port = (server: { address(): AddressInfo | string | null }): number => (server.address() as AddressInfo).port;
    console.log(`listening ${port(overHttp)} ${port(overGrpc)}`);
  }),
);
