// What this machine must offer for a local mesh, each thing tried, with what to do where it is missing. `ambit doctor`
// prints it; `ambit up` asks it when a room cannot be made.

import { readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { hostResolvers } from '../local/outside.ts';
import type { Feature } from '../platform/linux/features.ts';
import { Failure } from './failure.ts';
import { ambitHome, makeFolder } from './home.ts';

export interface Finding {
  /** Stable, for scripts. */
  readonly name: string;
  readonly ok: boolean;
  /** Without it there is no mesh on this machine. */
  readonly essential: boolean;
  /** What was found. */
  readonly result: string;
  readonly fix?: string;
}

/** What is looked at; a test puts in a machine of its own. */
export interface Machine {
  readonly platform: string;
  readonly arch: string;
  readonly nodeVersion: string;
  readonly home: string;
  features(): Promise<readonly Feature[]>;
  /** Makes the folder if need be and writes a file in it. @throws the error of the first step that fails */
  writeIn(folder: string): void;
  freeBytes(folder: string): number;
  /** @throws what `listen` says */
  bindLoopback(): Promise<void>;
  resolvers(): readonly string[];
  /** Hard limit of open descriptors of a process; undefined where it cannot be read. */
  descriptorLimit(): number | undefined;
  /** Bytes that processes can still take; undefined where it cannot be read. */
  availableMemory(): number | undefined;
}

const MIN_NODE = 24;
const MIN_FREE_BYTES = 64 << 20;
const GOOD_FREE_BYTES = 512 << 20;
/** Two nodes with the shop take about half of it. */
const GOOD_MEMORY_BYTES = 2 ** 30;
const GOOD_DESCRIPTORS = 4096;

const found = (name: string, result: string): Finding => ({ name, ok: true, essential: true, result });
const missing = (name: string, result: string, fix: string, essential = true): Finding => ({
  name,
  ok: false,
  essential,
  result,
  fix,
});

/** All findings, in the order in which they matter. */
export async function diagnose(machine: Machine = thisMachine()): Promise<readonly Finding[]> {
  const basics = [platform(machine), node(machine)];
  // Nothing below can be asked of another system.
  if (machine.platform !== 'linux') return basics;
  return [
    ...basics,
    ...(await features(machine)),
    ...stateFolder(machine),
    await loopback(machine),
    resolvers(machine),
    descriptors(machine),
    memory(machine),
  ];
}

/** The essential findings that are missing as one refusal; undefined when there is none. */
export function refusal(what: string, findings: readonly Finding[], cause?: unknown): Failure | undefined {
  const bad = findings.filter((finding) => !finding.ok && finding.essential);
  if (bad.length === 0) return undefined;
  return new Failure({
    what,
    why: bad.map((finding) => `${finding.name}: ${finding.result}`).join('\n      '),
    fix: [...new Set(bad.map((finding) => finding.fix ?? ''))].join('\n      '),
    cause,
  });
}

function platform({ platform, arch }: Machine): Finding {
  if (platform !== 'linux')
    return missing('platform', `${platform}: a room is made of Linux namespaces`, 'run it on Linux, or in a Linux VM');
  return arch === 'x64' || arch === 'arm64'
    ? found('platform', `linux ${arch}`)
    : missing('platform', `linux ${arch} is not tried`, 'x64 and arm64 are', false);
}

function node({ nodeVersion }: Machine): Finding {
  const major = Number(nodeVersion.replace(/^v/, '').split('.')[0]);
  return major >= MIN_NODE
    ? found('node', nodeVersion)
    : missing('node', `${nodeVersion} is older than ${MIN_NODE}`, 'start it with ./ambit, which brings its own');
}

async function features(machine: Machine): Promise<Finding[]> {
  const tried = await machine.features();
  return tried.map(({ name, ok, required, why = '', fix = '' }) =>
    ok ? { name, ok, essential: required, result: 'works' } : missing(name, why, fix, required),
  );
}

function stateFolder(machine: Machine): Finding[] {
  const { home } = machine;
  try {
    machine.writeIn(home);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const fix = why.includes('ENOSPC')
      ? 'free some space, or set AMBIT_HOME to a folder on another disk'
      : 'set AMBIT_HOME to a folder that you may write to';
    return [missing('state-folder', `\`${home}\` cannot be written: ${why}`, fix)];
  }
  const free = machine.freeBytes(home);
  const text = `${megabytes(free)} free in \`${home}\``;
  const fix = 'free some space, or set AMBIT_HOME to a folder on another disk';
  return [
    found('state-folder', `\`${home}\` can be written`),
    free < GOOD_FREE_BYTES ? missing('disk', text, fix, free < MIN_FREE_BYTES) : found('disk', text),
  ];
}

async function loopback(machine: Machine): Promise<Finding> {
  try {
    await machine.bindLoopback();
    return found('loopback', 'a port of 127.0.0.1 can be opened');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return missing('loopback', `no port of 127.0.0.1 can be opened: ${why}`, 'ip link set lo up');
  }
}

function resolvers(machine: Machine): Finding {
  const all = machine.resolvers();
  return all.length > 0
    ? { ...found('resolvers', all.join(', ')), essential: false }
    : missing(
        'resolvers',
        'no nameserver in /etc/resolv.conf: pods find no names outside the mesh',
        'add `nameserver ADDRESS` to /etc/resolv.conf',
        false,
      );
}

function descriptors(machine: Machine): Finding {
  const limit = machine.descriptorLimit();
  if (limit === undefined) return missing('descriptors', 'the limit cannot be read', 'mount /proc', false);
  return limit >= GOOD_DESCRIPTORS
    ? {
        ...found('descriptors', `${limit === Number.POSITIVE_INFINITY ? 'no limit' : limit} a process`),
        essential: false,
      }
    : missing(
        'descriptors',
        `${limit} a process: a node proxy holds two a connection`,
        `ulimit -Hn ${GOOD_DESCRIPTORS * 16}, or raise nofile in /etc/security/limits.conf`,
        false,
      );
}

function memory(machine: Machine): Finding {
  const bytes = machine.availableMemory();
  if (bytes === undefined) return missing('memory', 'what is free cannot be read', 'mount /proc', false);
  return bytes >= GOOD_MEMORY_BYTES
    ? { ...found('memory', `${megabytes(bytes)} available`), essential: false }
    : missing('memory', `only ${megabytes(bytes)} available`, 'end something, or start with --nodes 1', false);
}

const megabytes = (bytes: number): string => `${Math.floor(bytes / (1 << 20))} MiB`;

/** @param probe the command that prints what `probeRoom` finds, run inside a trial room */
export function thisMachine(
  probe: readonly [string, ...string[]] = [process.execPath, process.argv[1] ?? '', 'doctor', '--inside'],
): Machine {
  return {
    platform: process.platform,
    arch: process.arch,
    nodeVersion: process.version,
    home: ambitHome(),
    // Loaded only here: on another system than Linux the other commands work, and this module cannot even be read.
    features: async () => (await import('../platform/linux/features.ts')).checkFeatures(probe),
    writeIn(folder) {
      makeFolder(folder);
      const file = join(folder, `.doctor-${process.pid}`);
      writeFileSync(file, 'x', { mode: 0o600 });
      rmSync(file);
    },
    freeBytes(folder) {
      const { bavail, bsize } = statfsSync(folder);
      return bavail * bsize;
    },
    bindLoopback: () =>
      new Promise((resolve, reject) => {
        const server = createServer();
        server.once('error', reject);
        server.listen(0, '127.0.0.1', () => server.close(() => resolve()));
      }),
    resolvers: () => hostResolvers(),
    descriptorLimit: () => fieldOf('/proc/self/limits', /^Max open files\s+\S+\s+(\S+)/m),
    availableMemory() {
      const kibibytes = fieldOf('/proc/meminfo', /^MemAvailable:\s+(\d+) kB/m);
      return kibibytes === undefined ? undefined : kibibytes * 1024;
    },
  };
}

function fieldOf(file: string, pattern: RegExp): number | undefined {
  try {
    const text = pattern.exec(readFileSync(file, 'utf8'))?.[1];
    return text === 'unlimited' ? Number.POSITIVE_INFINITY : text === undefined ? undefined : Number(text);
  } catch {
    return undefined; // no /proc
  }
}
