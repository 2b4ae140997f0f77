// CPU and heap profiles of the running process, through V8's inspector; loaded when somebody asks. The results open in
// Chromium's developer tools and in speedscope. One at a time.

import { setTimeout as wait } from 'node:timers/promises';
import { type HttpRequest, type HttpResponse, text } from '../../telemetry/http-endpoint.ts';

let busy = false;

function bounded(query: URLSearchParams, name: string, fallback: number, max: number): number | undefined {
  const value = query.get(name);
  if (value === null) return fallback;
  const number = Number(value);
  return /^\d+$/.test(value) && number >= 1 && number <= max ? number : undefined;
}

type Post = (method: string, parameters?: Record<string, unknown>) => Promise<unknown>;

async function inspect(record: (post: Post) => Promise<unknown>): Promise<unknown> {
  const { Session } = process.getBuiltinModule('node:inspector');
  const session = new Session();
  session.connect();
  try {
    return await record(
      (method, parameters) =>
        new Promise((resolve, reject) => {
          session.post(method, parameters ?? {}, (error: Error | null, result?: object) =>
            error === null ? resolve(result) : reject(error),
          );
        }),
    );
  } finally {
    session.disconnect();
  }
}

async function recordCpu(post: Post, seconds: number, frequency: number, signal: AbortSignal): Promise<unknown> {
  await post('Profiler.enable');
  await post('Profiler.setSamplingInterval', { interval: Math.round(1_000_000 / frequency) });
  await post('Profiler.start');
  await wait(seconds * 1000, undefined, { signal }).catch(() => {});
  return post('Profiler.stop');
}

async function recordHeap(post: Post, seconds: number, signal: AbortSignal): Promise<unknown> {
  await post('HeapProfiler.startSampling', { samplingInterval: 32_768 });
  await wait(seconds * 1000, undefined, { signal }).catch(() => {});
  return post('HeapProfiler.stopSampling');
}

/** `/debug/pprof/profile?seconds=&frequency=` and `/debug/pprof/heap?seconds=`. */
export async function profile(request: HttpRequest, kind: 'cpu' | 'heap'): Promise<HttpResponse> {
  const seconds = bounded(request.query, 'seconds', 10, 300);
  const frequency = bounded(request.query, 'frequency', 100, 1000);
  if (seconds === undefined) return text(400, 'seconds must be a number from 1 to 300\n');
  if (frequency === undefined) return text(400, 'frequency must be a number from 1 to 1000\n');
  if (busy) return text(409, 'another profile is being taken\n');
  busy = true;
  try {
    const result = (await inspect((post) =>
      kind === 'cpu' ? recordCpu(post, seconds, frequency, request.signal) : recordHeap(post, seconds, request.signal),
    )) as { profile: unknown };
    const file = kind === 'cpu' ? 'ztunnel.cpuprofile' : 'ztunnel.heapprofile';
    return {
      status: 200,
      contentType: 'application/json',
      headers: { 'content-disposition': `attachment; filename="${file}"` },
      body: JSON.stringify(result.profile),
    };
  } finally {
    busy = false;
  }
}
