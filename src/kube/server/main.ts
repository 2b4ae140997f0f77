// The api process: `api` role of the room. Says `{ ready: true }` over IPC when it answers, ends on SIGTERM.

import { setFlagsFromString } from 'node:v8';
import { logger } from '../../telemetry/log.ts';
import { readConfig } from './config.ts';
import { startApi } from './server.ts';

// A burst of writes makes much short-lived garbage, and V8 would keep the room that it took for it: 190 MB instead of
// 310 MB after 3,000 pods were made and changed, for no more time.
setFlagsFromString('--semi-space-growth-factor=1');
process.umask(0o077); // the database and its companions hold keys
const log = logger('api');

const read = readConfig(process.env);
if ('problems' in read) {
  for (const problem of read.problems) log.error(problem);
  process.exit(1);
}
try {
  const api = await startApi(read.config);
  process.on('SIGTERM', () => {
    log.info('ending on SIGTERM');
    const forced = setTimeout(() => process.exit(1), 5_000);
    forced.unref();
    void api.stop().then(() => process.exit(0));
  });
  process.send?.({ ready: true, ports: api.ports });
} catch (error) {
  log.error('the API cannot start', { error: error instanceof Error ? error.message : String(error) });
  process.exit(1);
}
