// The whole engine on loopback: bytes in at a gateway's port, bytes out at an endpoint, and back.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Rig, type RigOptions } from '../testing/rig.ts';

let rig: Rig | undefined;
async function start(options: RigOptions = {}): Promise<Rig> {
  rig = await Rig.start(options);
  return rig;
}
afterEach(() => {
  rig?.close();
  rig = undefined;
});

test('a request goes to the endpoint of its route, and its answer comes back', async () => {
  const { status, body, head } = await (await start()).get('/a?b=c', 'X-Test: 1\r\n');
  assert.equal(status, 200);
  assert.match(body, /^GET \/a\?b=c HTTP\/1\.1\r\nHost: shop\.example\.com\r\n/);
  assert.match(body, /x-test: 1/i);
  assert.match(head, /server: istio-envoy/i);
  assert.match(head, /x-envoy-upstream-service-time: \d+/i);
});
