// A program: a rate-limit service (envoy.service.ratelimit.v3) that lets two requests pass for each set of descriptors.
// A descriptor with key `fail` is answered with an error, `slow` never. Prints `listening <port>`. In a pod: on $PORT.

import type { AddressInfo } from 'node:net';
import { serveGrpc } from './answer-grpc.ts';
import { decode, encode, RATE_LIMIT_REQUEST, RATE_LIMIT_RESPONSE } from './proto-shapes.ts';

const LIMIT = 2;
const counts = new Map<string, number>();

const server = serveGrpc({
  '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit': (message) => {
    const asked = JSON.stringify(decode(RATE_LIMIT_REQUEST, message));
    if (asked.includes('"fail"')) return 14;
    if (asked.includes('"slow"')) return undefined;
    if (asked.includes('"unknown"')) return encode(RATE_LIMIT_RESPONSE, {});
    const count = (counts.get(asked) ?? 0) + 1;
    counts.set(asked, count);
    const remaining = String(Math.max(0, LIMIT - count));
    return encode(RATE_LIMIT_RESPONSE, {
      code: count > LIMIT ? 2 : 1,
      toDownstream: [{ key: 'X-RateLimit-Remaining', value: remaining }],
      toUpstream: [{ key: 'x-asked', value: asked }],
      body: count > LIMIT ? Buffer.from('slow down').toString('hex') : '',
    });
  },
});
const [port, host] = process.env.PORT === undefined ? [0, '127.0.0.1'] : [Number(process.env.PORT), '0.0.0.0'];
server.listen(port, host, () => console.log(`listening ${(server.address() as AddressInfo).port}`));
