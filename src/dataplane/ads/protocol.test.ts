import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeltaResponse, ResourceBytes } from '../../wire/xds/discovery-bytes.ts';
import { DeltaProtocol, type ResourceStore } from './protocol.ts';

const NODE = { id: 'n', metadata: {} };

/** A store that takes everything but names with `bad` in them. */
function fakeStore(): ResourceStore & { names: Set<string> } {
  const names = new Set<string>();
  return {
    names,
    apply(resources, removed) {
      const all = [...resources];
      const accepted = all.filter(({ name }) => !name.includes('bad'));
      for (const { name } of accepted) names.add(name);
      for (const name of removed) names.delete(name);
      return {
        accepted,
        rejected: all.filter(({ name }) => name.includes('bad')).map(({ name }) => ({ name, reason: 'bad' })),
      };
    },
  };
}

const response = (names: readonly string[], removedResources: string[] = []): DeltaResponse => ({
  typeUrl: 't',
  nonce: 'n',
  removedResources,
  resourceCount: names.length,
  resources: () => names.map((name): ResourceBytes => ({ name, version: 'v', aliases: [], resource: undefined })),
});
const make = (store: ResourceStore, onDemand = false) => new DeltaProtocol(NODE, [{ typeUrl: 't', store, onDemand }]);
const versions = (protocol: DeltaProtocol): string[] =>
  [...(protocol.initialRequests()[0]?.initialResourceVersions ?? [])].map(([name]) => name);

test('more held names than a server reads are not sent; the first response is then everything there is', () => {
  const store = fakeStore();
  const protocol = make(store);
  const many = Array.from({ length: 1300 }, (_, i) => `${i}-${'x'.repeat(1000)}`);
  protocol.receive(response([...many, 'gone', 'kept']));
  assert.deepEqual(versions(protocol), []);
  protocol.receive(response([...many, 'kept', 'kept-bad']));
  assert.equal(store.names.has('gone'), false, 'what the whole lacks was removed meanwhile');
  assert.equal(store.names.has('kept'), true);
  protocol.receive(response(['new']));
  assert.equal(store.names.has('kept'), true, 'later responses are changes again');
  protocol.receive(response([], many));
  assert.deepEqual(versions(protocol).sort(), ['kept', 'new']);
});

test('a resource that is refused in the whole keeps its last good form', () => {
  const store = fakeStore();
  const protocol = make(store);
  const many = Array.from({ length: 1300 }, (_, i) => `${i}-${'x'.repeat(1000)}`);
  protocol.receive(response(many));
  protocol.initialRequests();
  protocol.receive(response([...many.slice(1), 'bad']));
  assert.equal(store.names.size, 1299);
});

test('the text of a refusal is bounded and says how much it leaves out', () => {
  const protocol = make(fakeStore());
  const { reply } = protocol.receive(response(Array.from({ length: 5000 }, (_, i) => `bad-${i}`)));
  const text = reply.errorDetail?.message ?? '';
  assert.ok(text.length < 17_000);
  assert.match(text, /^bad-0: bad; bad-1: bad; .*; and \d{4} more$/);
});

test('lookups that wait are bounded; more have nothing to wait for', () => {
  const protocol = make(fakeStore(), true);
  for (let i = 0; i < 10_000; i++) assert.ok(protocol.demand('t', `/${i}`));
  assert.equal(protocol.demand('t', '/more'), undefined);
  assert.ok(protocol.demand('t', '/1'), 'one that waits already may wait twice');
  protocol.receive(response([], ['/1']));
  assert.ok(protocol.demand('t', '/more'));
});

test('ready when every wildcard type was answered without a refusal', () => {
  const protocol = make(fakeStore());
  assert.equal(protocol.ready, false);
  protocol.receive(response(['bad']));
  assert.equal(protocol.ready, false);
  protocol.receive(response([]));
  protocol.receive(response(['bad']));
  assert.equal(protocol.ready, true, 'once ready, always ready');
  assert.equal(make(fakeStore(), true).ready, true);
});
