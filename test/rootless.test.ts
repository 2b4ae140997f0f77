// The same mesh for an ordinary user: nothing may need root.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, TestMesh } from './support/mesh.ts';

let mesh: TestMesh;
before(async () => {
  mesh = await TestMesh.up({ as: 'user', up: ['--wait', '60s'] });
});
after(async () => {
  await mesh?.[Symbol.asyncDispose]();
});

const get = async (from: string, to: string): Promise<string> =>
  (await mesh.kubectl(['exec', '-n', 'ecommerce', `deploy/${from}`, '--', 'node', '/shop/shop.mjs', 'get', to])).stdout;

test('the shop runs, policy holds, identities stand in the log', async () => {
  assert.match(await get('shopper', 'http://order-service/orders'), /^200/);
  assert.match(await get('shopper', 'http://payment-service/payments'), /ECONNRESET|socket hang up/);
  await eventually('both identities in the log', async () => {
    const logs = await mesh.kubectlOk(['logs', '-n', 'istio-system', '-l', 'app=ztunnel', '--tail=100']);
    return (
      /src\.identity="spiffe:\/\/cluster\.local\/ns\/ecommerce\/sa\/shopper".*dst\.identity="spiffe:\/\/cluster\.local\/ns\/ecommerce\/sa\/order-service"/.test(
        logs,
      ) || undefined
    );
  });
});

test('what a container writes never reaches the host', async () => {
  await mesh.kubectl([
    'exec',
    '-n',
    'ecommerce',
    'deploy/shopper',
    '--',
    'sh',
    '-c',
    'echo x > /etc/ambit-was-here; echo x > /tmp/ambit-was-here',
  ]);
  const { existsSync } = await import('node:fs');
  assert.equal(existsSync('/etc/ambit-was-here'), false);
  assert.equal(existsSync('/tmp/ambit-was-here'), false);
});
