// The L4 path: two hops of mutual TLS between two namespaces, against no mesh and against Envoy, in rounds that take
// turns, so that whatever else the machine does hits all of them alike. Reported is each one's best round: other work can
// only make a round worse. The JSON holds all of them.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { TestAuthority } from '../../src/platform/tls/testing.ts';
import { load, type Measured } from '../load/drive.ts';
import { BULK_PORT, HTTP_PORT, type LoadOptions } from '../load/protocol.ts';
import { inside, makePair } from '../network.ts';
import type { Part, PartOptions } from '../part.ts';
import { envoyPath, installEnvoy } from '../paths/envoy.ts';
import { pairPath } from '../paths/pair.ts';
import { directPath, type Path } from '../paths/path.ts';
import { ztunnelPath } from '../paths/ztunnel.ts';
import { type Running, rssMB, run, start } from '../processes.ts';
import type { Budget, Row, Subject } from '../report.ts';

const CONNECTIONS = 32;
const PACED_RATE = 2_000;
/** Memory of an idle proxy is that of one whose start is over. */
const SETTLING_MS = 2_000;

type Values = Partial<Record<Subject, number>>;

/** One load, and the figures taken from it. */
interface Measurement {
  readonly name: string;
  readonly port: number;
  readonly load: Omit<LoadOptions, 'host' | 'port' | 'warmupMs' | 'durationMs'>;
  readonly figures: readonly Figure[];
  readonly subjects?: readonly Subject[];
}

interface Figure {
  readonly what: string;
  readonly unit: string;
  readonly of: (result: Measured) => number;
  readonly budget?: Budget;
  readonly best: 'highest' | 'lowest';
  /** Direct has no proxies, so no CPU of theirs. */
  readonly ofProxies?: boolean;
}

const versusEnvoy = (bound: { atLeast: number } | { atMost: number }): Budget => ({
  kind: 'ratio',
  against: 'envoy',
  ...bound,
});
const perSecond = (result: Measured): number => result.done / result.seconds;
const gigabits = (result: Measured): number => (result.done * 8) / result.seconds / 1e9;

/** Tells what bulk costs even when the cores are shared with other work. */
const cpuPerGigabyte: Figure = {
  what: '  CPU per gigabyte, both proxies',
  unit: 's',
  of: (result) => (result.cpuSeconds * 1e9) / result.done,
  best: 'lowest',
  ofProxies: true,
};

const MEASUREMENTS: readonly Measurement[] = [
  {
    name: 'requests',
    port: HTTP_PORT,
    load: { mode: 'closed', connections: CONNECTIONS },
    figures: [
      {
        what: `requests, ${CONNECTIONS} connections`,
        unit: '/s',
        of: perSecond,
        best: 'highest',
        budget: versusEnvoy({ atLeast: 1 }),
      },
      {
        what: 'CPU per request, both proxies',
        unit: 'µs',
        of: (result) => (result.cpuSeconds * 1e6) / result.done,
        best: 'lowest',
        budget: versusEnvoy({ atMost: 0.9 }),
        ofProxies: true,
      },
    ],
  },
  {
    name: 'latency',
    port: HTTP_PORT,
    load: { mode: 'paced', connections: CONNECTIONS, rate: PACED_RATE },
    figures: [
      { what: `p50 at ${PACED_RATE}/s`, unit: 'ms', of: (result) => result.p50 ?? Number.NaN, best: 'lowest' },
      {
        what: `p99 at ${PACED_RATE}/s`,
        unit: 'ms',
        of: (result) => result.p99 ?? Number.NaN,
        best: 'lowest',
        budget: versusEnvoy({ atMost: 1.2 }),
      },
    ],
  },
  {
    name: 'connections',
    port: HTTP_PORT,
    load: { mode: 'connect', connections: CONNECTIONS },
    figures: [
      { what: 'new connections', unit: '/s', of: perSecond, best: 'highest', budget: versusEnvoy({ atLeast: 1 }) },
    ],
  },
  {
    name: 'bulk1',
    port: BULK_PORT,
    load: { mode: 'bulk', connections: 1 },
    figures: [
      { what: 'bulk, 1 stream', unit: 'Gb/s', of: gigabits, best: 'highest', budget: versusEnvoy({ atLeast: 0.9 }) },
      cpuPerGigabyte,
    ],
  },
  {
    name: 'bulk4',
    port: BULK_PORT,
    load: { mode: 'bulk', connections: 4 },
    figures: [
      { what: 'bulk, 4 streams', unit: 'Gb/s', of: gigabits, best: 'highest', budget: versusEnvoy({ atLeast: 0.9 }) },
      cpuPerGigabyte,
    ],
  },
];

const mapValues = <T, U>(of: Partial<Record<Subject, T>>, f: (value: T) => U): Partial<Record<Subject, U>> =>
  Object.fromEntries(Object.entries(of).map(([subject, value]) => [subject, f(value)]));

/** The larger of the two proxies: the budget is one process's. */
const memory = (paths: readonly Path[]): Values =>
  Object.fromEntries(
    paths.filter((path) => path.pids.length > 0).map((path) => [path.subject, Math.max(...path.pids.map(rssMB))]),
  );

async function measure(one: Measurement, paths: readonly Path[], options: PartOptions): Promise<Row[]> {
  const results: Partial<Record<Subject, Measured[]>> = {};
  for (let round = 0; round < options.rounds; round++)
    for (const path of paths) {
      options.progress(`${one.name}, round ${round + 1} of ${options.rounds}: ${path.subject}`);
      const times = { warmupMs: round === 0 ? 1_500 : 500, durationMs: options.seconds * 1_000 };
      const result = await load(
        path.pair.client.netns,
        { ...one.load, ...path.address(one.port), ...times },
        path.pids,
      );
      results[path.subject] = [...(results[path.subject] ?? []), result];
    }
  return one.figures.map((figure) => {
    const rounds = mapValues(results, (list) => list.map(figure.of));
    if (figure.ofProxies) delete rounds.direct;
    return {
      what: figure.what,
      unit: figure.unit,
      values: mapValues(rounds, (list) => (figure.best === 'highest' ? Math.max(...list) : Math.min(...list))),
      rounds,
      ...(figure.budget === undefined ? {} : { budget: figure.budget }),
    };
  });
}

export const l4: Part = {
  name: 'l4',
  title: 'L4: two hops of mutual TLS',
  async prepare(options) {
    await run([process.execPath, join(import.meta.dirname, '../../scripts/bundle.ts')]); // what is measured
    if (options.peers) await installEnvoy();
  },
  async run(options) {
    const folder = mkdtempSync(join(tmpdir(), 'ambit-bench-'));
    const plain = makePair('plain', 1);
    const ambit = makePair('ambit', 2);
    const envoy = makePair('envoy', 3);
    const script = join(import.meta.dirname, '../load/server.ts');
    const applications: Running[] = [];
    const paths: Path[] = [];
    try {
      for (const { server } of [plain, ambit, envoy])
        applications.push(await start(inside(server.netns, [process.execPath, script]), { ready: /^serving/ }));
      paths.push(directPath(plain), await ztunnelPath(folder, ambit));
      const authority = await TestAuthority.create();
      const client = await authority.issue('spiffe://cluster.local/ns/bench/sa/client');
      const server = await authority.issue('spiffe://cluster.local/ns/bench/sa/server');
      if (options.peers) paths.push(await envoyPath(folder, envoy, client, server));
      if (options.tunnel) paths.push(await pairPath(plain, client, server));
      const rows: Row[] = [];
      await setTimeout(SETTLING_MS);
      const idle = memory(paths);
      let loaded: Values = {};
      for (const one of MEASUREMENTS) {
        if (options.only !== undefined && !options.only.includes(one.name)) continue;
        rows.push(...(await measure(one, paths, options)));
        if (one.name === 'requests') loaded = memory(paths);
      }
      rows.push({ what: 'RSS of a proxy, idle', unit: 'MB', values: idle, budget: { kind: 'absolute', atMost: 75 } });
      rows.push({
        what: 'RSS of a proxy, after the requests',
        unit: 'MB',
        values: loaded,
        budget: { kind: 'absolute', atMost: 110 },
      });
      rows.push({ what: 'RSS of a proxy, after all of it', unit: 'MB', values: memory(paths) });
      return rows;
    } finally {
      for (const path of paths) await path.stop();
      for (const application of applications) await application.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
