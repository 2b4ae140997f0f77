// One plaintext L7 hop with a route, a policy, metrics and an access log, against no proxy and against one Envoy configured
// alike, in rounds that take turns (as in l4.ts); then what only a control plane can ask of ours: 3,000 routes.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { load, type Measured } from '../load/drive.ts';
import { HTTP_PORT, type LoadOptions } from '../load/protocol.ts';
import { inside, makePair, type Pair } from '../network.ts';
import type { Part, PartOptions } from '../part.ts';
import { installEnvoy } from '../paths/envoy.ts';
import { envoyHop } from '../paths/l7-envoy.ts';
import { proxyHop } from '../paths/l7-proxy.ts';
import { LISTEN_PORT, makeToken, type TokenSetting } from '../paths/l7-world.ts';
import { directPath, type Path } from '../paths/path.ts';
import { type Running, rssMB, run, start } from '../processes.ts';
import type { Budget, Row, Subject } from '../report.ts';

const CONNECTIONS = 32;
const PACED_RATE = 2_000;
const ROUTES = 3_000;

interface Measurement {
  readonly name: string;
  readonly load: Pick<LoadOptions, 'mode' | 'rate' | 'path'> & { readonly connections?: number };
  readonly figures: readonly Figure[];
}

interface Figure {
  readonly what: string;
  readonly unit: string;
  readonly of: (result: Measured) => number;
  readonly best: 'highest' | 'lowest';
  readonly budget?: Budget;
  readonly ofProxies?: boolean;
}

const versusEnvoy = (bound: { atLeast: number } | { atMost: number }): Budget => ({
  kind: 'ratio',
  against: 'envoy',
  ...bound,
});
const rate = (what: string): Figure => ({
  what,
  unit: '/s',
  of: ({ done, seconds }) => done / seconds,
  best: 'highest',
});
const cpu = (what: string, atMost = 0.7): Figure => ({
  what,
  unit: 'µs',
  of: ({ cpuSeconds, done }) => (cpuSeconds * 1e6) / done,
  best: 'lowest',
  budget: versusEnvoy({ atMost }),
  ofProxies: true,
});

const PLAIN: readonly Measurement[] = [
  {
    name: 'requests',
    load: { mode: 'closed', path: '/100' },
    figures: [rate(`requests, ${CONNECTIONS} connections`), cpu('  CPU per request')],
  },
  {
    name: 'latency',
    load: { mode: 'paced', rate: PACED_RATE, path: '/100' },
    figures: [
      { what: `p50 at ${PACED_RATE}/s`, unit: 'ms', of: ({ p50 }) => p50 ?? Number.NaN, best: 'lowest' },
      {
        what: `p99 at ${PACED_RATE}/s`,
        unit: 'ms',
        of: ({ p99 }) => p99 ?? Number.NaN,
        best: 'lowest',
        budget: versusEnvoy({ atMost: 1.2 }),
      },
    ],
  },
  {
    name: 'body1k',
    load: { mode: 'closed', path: '/1024' },
    figures: [rate('requests with bodies of 1 KB'), cpu('  CPU per request, 1 KB')],
  },
  {
    name: 'body1m',
    load: { mode: 'closed', path: '/1048576', connections: 4 },
    figures: [
      {
        what: 'bodies of 1 MB, 4 connections',
        unit: 'Gb/s',
        of: ({ done, seconds }) => (done * 8 * 1_048_576) / seconds / 1e9,
        best: 'highest',
        budget: versusEnvoy({ atLeast: 0.8 }),
      },
    ],
  },
];

const WITH_TOKEN: readonly Measurement[] = [
  {
    name: 'token',
    load: { mode: 'closed', path: '/100' },
    figures: [rate('requests with a JWT'), cpu('  CPU per request, JWT')],
  },
];

async function measure(
  one: Measurement,
  paths: readonly Path[],
  options: PartOptions,
  token: TokenSetting | undefined,
): Promise<Row[]> {
  const results = new Map<Subject, Measured[]>(paths.map(({ subject }) => [subject, []]));
  for (let round = 0; round < options.rounds; round++)
    for (const path of paths) {
      options.progress(`${one.name}, round ${round + 1} of ${options.rounds}: ${path.subject}`);
      const result = await load(
        path.pair.client.netns,
        {
          connections: CONNECTIONS,
          ...one.load,
          ...path.address(HTTP_PORT),
          headers: token === undefined ? [] : [`Authorization: Bearer ${token.token}`],
          warmupMs: round === 0 ? 2_000 : 500,
          durationMs: options.seconds * 1_000,
        },
        path.pids,
        'http-client.ts',
      );
      results.get(path.subject)?.push(result);
    }
  return one.figures.map(({ what, unit, of, best, budget, ofProxies }) => {
    const counted = [...results].filter(([subject]) => ofProxies !== true || subject !== 'direct');
    const rounds = Object.fromEntries(counted.map(([subject, all]) => [subject, all.map(of)]));
    const pick = best === 'highest' ? Math.max : Math.min;
    const values = Object.fromEntries(Object.entries(rounds).map(([subject, all]) => [subject, pick(...all)]));
    return { what, unit, values, rounds, ...(budget === undefined ? {} : { budget }) };
  });
}

const memory = (what: string, paths: readonly Path[], atMost?: number): Row => ({
  what,
  unit: 'MB',
  values: Object.fromEntries(
    paths.filter(({ pids }) => pids.length > 0).map(({ subject, pids }) => [subject, Math.max(...pids.map(rssMB))]),
  ),
  ...(atMost === undefined ? {} : { budget: { kind: 'absolute', atMost } }),
});

/** Asks until the answer comes from routes with this marker, every millisecond. @returns milliseconds */
function untilRouted(netns: string, marker: string): Promise<number> {
  const script = join(import.meta.dirname, '../load/until-routed.ts');
  return run(inside(netns, [process.execPath, script, String(LISTEN_PORT), marker])).then(Number);
}

async function changeRoutes(
  pair: Pair,
  hop: Awaited<ReturnType<typeof proxyHop>>,
  options: PartOptions,
): Promise<Row[]> {
  const times: number[] = [];
  // Errors while routes change: the load fails at the first answer that is not 200.
  const traffic = load(
    pair.client.netns,
    { mode: 'paced', rate: 500, connections: 8, path: '/100', ...hop.address(0), warmupMs: 500, durationMs: 6_000 },
    hop.pids,
    'http-client.ts',
  );
  for (let change = 0; change < 4; change++) {
    options.progress(`${ROUTES} routes, change ${change + 1}`);
    const marker = `v${change}`;
    const effective = untilRouted(pair.client.netns, marker);
    await delay(800); // the asking process has started
    // What a control plane does before the push is measured with the control plane.
    const push = hop.routes(ROUTES, marker);
    const sentMs = Date.now();
    push();
    times.push((await effective) - sentMs);
  }
  await traffic;
  return [
    {
      what: `${ROUTES} routes changed -> effective`,
      unit: 'ms',
      values: { ambit: Math.min(...times.slice(1)) },
      rounds: { ambit: times },
      budget: { kind: 'absolute', atMost: 50 },
    },
    memory(`RSS with ${ROUTES} routes`, [hop]),
  ];
}

export const l7: Part = {
  name: 'l7',
  title: 'L7: one plaintext hop with route, policy, metrics and access log',
  async prepare(options) {
    await run([process.execPath, join(import.meta.dirname, '../../scripts/bundle.ts')]);
    if (options.peers) await installEnvoy();
  },
  async run(options) {
    const folder = mkdtempSync(join(tmpdir(), 'ambit-bench-'));
    const running: Running[] = [];
    const paths: Path[] = [];
    const wants = (name: string): boolean => options.only === undefined || options.only.includes(name);
    const place = async (name: string, subnet: number): Promise<Pair> => {
      const pair = makePair(name, subnet);
      const script = join(import.meta.dirname, '../load/http-server.ts');
      running.push(await start(inside(pair.server.netns, [process.execPath, script]), { ready: /^serving/ }));
      return pair;
    };
    /** A client that asks before the proxy listens would fail the run. */
    const listening = async ({ pair }: Path): Promise<void> => {
      const script = join(import.meta.dirname, '../load/until-routed.ts');
      await run(inside(pair.client.netns, [process.execPath, script, String(LISTEN_PORT), '']));
    };
    const rows: Row[] = [];
    try {
      const plain = directPath(await place('plain', 1));
      const scenario = async (
        name: string,
        subnet: number,
        measurements: readonly Measurement[],
        token: TokenSetting | undefined,
      ): Promise<Path[]> => {
        if (!measurements.some((one) => wants(one.name)) && !(name === 'plain' && wants('routes'))) return [];
        const ours = await place(`ambit-${name}`, subnet);
        const hops: Path[] = [await proxyHop(folder, ours, { server: ours.server.ip, token })];
        if (options.peers) {
          const theirs = await place(`envoy-${name}`, subnet + 1);
          hops.push(await envoyHop(folder, theirs, { server: theirs.server.ip, token }));
        }
        paths.push(...hops);
        if (token === undefined) for (const hop of hops) await listening(hop);
        else await delay(2_000);
        for (const one of measurements)
          if (wants(one.name)) rows.push(...(await measure(one, [plain, ...hops], options, token)));
        return hops;
      };
      const hops = await scenario('plain', 2, PLAIN, undefined);
      if (hops.length > 0) rows.push(memory('RSS of a proxy, after the load', hops, 130));
      await scenario('token', 4, WITH_TOKEN, makeToken());
      const [ours] = hops;
      if (ours !== undefined && wants('routes'))
        rows.push(...(await changeRoutes(ours.pair, ours as Awaited<ReturnType<typeof proxyHop>>, options)));
      return rows;
    } finally {
      for (const path of paths) await path.stop();
      for (const one of running) await one.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
