// nftables inside a network namespace: one script is one transaction, so a namespace never has half of its rules.
//
// The library behind the `nft` program is called directly (libnftables, same grammar): 0.3 ms against 6 ms and more for
// starting the program. Where only the program exists, it is started inside the namespace instead.

import { execFile } from 'node:child_process';
import { accessSync, closeSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import koffi, { type LibraryHandle } from 'koffi';
import { check, libc } from './libc.ts';
import type { Netns } from './netns.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_NETFILTER = 12;
const NFT_CTX_OUTPUT_JSON = 1 << 4;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];

/** A script that was not applied, or a list that was not read; nothing was changed. */
export class NftError extends Error {
  readonly why: string;
  constructor(what: string, why: string, fix: string) {
    super(`${what}: ${why}; ${fix}`);
    this.name = 'NftError';
    this.why = why;
  }
}

/** Runs commands in the namespace: what they print, or why they failed. */
type Runner = (netns: Netns, script: string, json: boolean) => Promise<{ output: string; error: string | undefined }>;

let runner: Runner | undefined;

/**
 * Applies a script (the grammar of `nft -f`), wholly or not at all.
 * @throws NftError with nft's own words; SystemError EPERM without CAP_NET_ADMIN
 */
export async function applyNft(netns: Netns, script: string): Promise<void> {
  const { error } = await findRunner()(netns, script, false);
  if (error !== undefined)
    throw new NftError('redirection rules not applied', error, 'check the kernel with `ambit doctor`');
}

/** What `nft list …` prints. @param what for example `ruleset`, or `table inet name` */
export async function listNft(netns: Netns, what = 'ruleset'): Promise<string> {
  return read(netns, what, false);
}

/** The same as objects: the array below `nftables` of libnftables-json(5). */
export async function listNftJson(netns: Netns, what = 'ruleset'): Promise<Record<string, unknown>[]> {
  const parsed: unknown = JSON.parse((await read(netns, what, true)) || '{"nftables":[]}');
  const items = typeof parsed === 'object' && parsed !== null && 'nftables' in parsed ? parsed.nftables : undefined;
  if (!Array.isArray(items)) throw new NftError('rules not listed', 'nft answered no JSON list', 'update nftables');
  return items as Record<string, unknown>[];
}

async function read(netns: Netns, what: string, json: boolean): Promise<string> {
  const { output, error } = await findRunner()(netns, `list ${what}`, json);
  if (error !== undefined) throw new NftError('rules not listed', error, 'check the kernel with `ambit doctor`');
  return output;
}

function findRunner(): Runner {
  runner ??= withLibrary() ?? withProgram();
  if (runner !== undefined) return runner;
  throw new NftError(
    'redirection rules not applied',
    'nftables is not installed: neither libnftables.so.1 nor the program nft was found',
    'apt-get install nftables',
  );
}

/** The runner over libnftables; undefined where it is not installed. */
export function withLibrary(): Runner | undefined {
  let library: LibraryHandle;
  try {
    library = koffi.load('libnftables.so.1');
  } catch {
    return undefined;
  }
  const contextNew = library.func('void *nft_ctx_new(uint32_t)');
  const contextFree = library.func('void nft_ctx_free(void *)');
  const bufferOutput = library.func('int nft_ctx_buffer_output(void *)');
  const bufferError = library.func('int nft_ctx_buffer_error(void *)');
  const outputOf = library.func('const char *nft_ctx_get_output_buffer(void *)');
  const errorOf = library.func('const char *nft_ctx_get_error_buffer(void *)');
  const setFlags = library.func('void nft_ctx_output_set_flags(void *, uint32_t)');
  const run = library.func('int nft_run_cmd_from_buffer(void *, const char *)');
  return async (netns, script, json) =>
    netns.run(() => {
      probeNetfilter();
      const context: unknown = contextNew(0);
      try {
        bufferOutput(context);
        bufferError(context);
        if (json) setFlags(context, NFT_CTX_OUTPUT_JSON);
        const status: number = run(context, script);
        const output: string = outputOf(context) ?? '';
        const error: string = errorOf(context) ?? '';
        return { output, error: status === 0 ? undefined : tidy(error) };
      } finally {
        contextFree(context);
      }
    });
}

/** The library ends the process when it gets no netlink socket, so that is tried here, where it is an error. */
function probeNetfilter(): void {
  const what = (): string => 'nftables not reached';
  closeSync(check(libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_NETFILTER), 'socket', what));
}

/** The runner over the `nft` program; undefined where there is none. */
export function withProgram(path = process.env.PATH ?? ''): Runner | undefined {
  const program = findProgram('nft', path);
  if (program === undefined) return undefined;
  return async (netns, script, json) => {
    // Not through standard input: Node's pipes are sockets, which nft cannot open again as /dev/stdin.
    const folder = mkdtempSync(join(tmpdir(), 'ambit-nft-'));
    const file = join(folder, 'script');
    try {
      writeFileSync(file, script);
      return await new Promise((resolve) => {
        const args = [...(json ? ['-j'] : []), '-f', file];
        const done = (failure: Error | null, output: string, error: string): void =>
          resolve({
            output,
            error: failure === null ? undefined : tidy((error || failure.message).replaceAll(file, 'script')),
          });
        netns.run(() => void execFile(program, args, { maxBuffer: MAX_OUTPUT_BYTES }, done));
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  };
}

/** Looks in PATH and then where system programs lie, which ordinary users' PATH leaves out on Debian. */
export function findProgram(name: string, path: string): string | undefined {
  for (const folder of [...path.split(delimiter).filter((part) => part !== ''), ...SYSTEM_FOLDERS]) {
    const candidate = join(folder, name);
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // not here
    }
  }
  return undefined;
}

/** nft prints more below each problem, which for a script in memory is often another line than the bad one. */
function tidy(error: string): string {
  const problems = error.split('\n').filter((line) => /error/i.test(line));
  return (problems.length > 0 ? problems.join('; ') : error.trim()) || 'nft gave no reason';
}
