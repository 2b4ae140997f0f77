import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ip } from '../model/testing/builders.ts';
import { encodeProxyHeader } from './proxy-protocol.ts';

const SIGNATURE = '0d0a0d0a000d0a515549540a';

test('IPv4 with an identity', () => {
  const header = encodeProxyHeader({
    source: { ip: ip('10.0.0.1'), port: 40000 },
    destination: { ip: ip('10.96.0.5'), port: 80 },
    identity: { trustDomain: 'td', namespace: 'n', serviceAccount: 's' },
  });
  const uri = Buffer.from('spiffe://td/ns/n/sa/s').toString('hex');
  assert.equal(header.toString('hex'), `${SIGNATURE}21110024${'0a000001'}${'0a600005'}${'9c40'}${'0050'}d00015${uri}`);
});

test('IPv6 without an identity', () => {
  const header = encodeProxyHeader({
    source: { ip: ip('fd00::1'), port: 1 },
    destination: { ip: ip('fd00::2'), port: 2 },
    identity: undefined,
  });
  const address = (last: string) => `fd00${'0000'.repeat(6)}${last}`;
  assert.equal(header.toString('hex'), `${SIGNATURE}21210024${address('0001')}${address('0002')}00010002`);
});

test('mixed families are both IPv6', () => {
  const header = encodeProxyHeader({
    source: { ip: ip('10.0.0.1'), port: 1 },
    destination: { ip: ip('fd00::2'), port: 2 },
    identity: undefined,
  });
  assert.equal(header[13], 0x21);
  assert.equal(header.subarray(16, 32).toString('hex'), `${'00'.repeat(10)}ffff0a000001`);
});
