import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addLogDirectives, configureLogging, currentLogFilter, logger, resetLogFilter } from './log.ts';

const lines: string[] = [];
const sink = { write: (line: string) => void lines.push(line), flush: () => Promise.resolve(), dropped: 0 };
const take = (): string[] => lines.splice(0);

test('levels change while the process runs, also for loggers made before', () => {
  const log = logger('xds::client');
  configureLogging({ sink, filter: 'info', nowMicros: () => 0 });
  log.debug('hidden');
  assert.deepEqual(addLogDirectives('xds=debug'), { ok: true, value: undefined });
  assert.equal(currentLogFilter(), 'xds=debug,info');
  assert.equal(log.enabled('debug'), true);
  log.debug('shown', { n: 1 });
  logger('other').debug('hidden');
  resetLogFilter();
  log.debug('hidden');
  assert.deepEqual(take(), ['1970-01-01T00:00:00.000000Z\tdebug\txds::client\tshown\tn=1\n']);
});

test('context follows the fields of the line', () => {
  configureLogging({ sink, format: 'json', nowMicros: () => 1.5 });
  logger('ca').with({ id: 7 }).warn('w', { a: 'b' });
  configureLogging({ format: 'plain' });
  assert.deepEqual(take(), [
    '{"level":"warn","time":"1970-01-01T00:00:00.000001Z","scope":"ca","message":"w","a":"b","id":7}\n',
  ]);
});

test('a bad filter is reported and the old one stays', () => {
  configureLogging({ sink, filter: 'warn' });
  assert.equal(configureLogging({ filter: 'xds=loud' }).ok, false);
  assert.equal(currentLogFilter(), 'warn');
  assert.equal(addLogDirectives('x=y').ok, false);
  logger('xds').info('hidden');
  logger('xds').error('shown');
  assert.equal(take().length, 1);
});
