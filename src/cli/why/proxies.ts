// What the node proxies hold and have seen, asked through the Kubernetes API: their configuration dumps as worlds, their
// access logs as connections. A proxy that does not answer is a result with its reason, not an error.

import { IndexedWorld } from '../../model/indexed-world.ts';
import { fail, ok, type Result } from '../../model/result.ts';
import { type DumpedSettings, type DumpProblem, readDump } from '../../wire/dump/decode.ts';
import { type LoggedConnection, parseAccessLine } from './access-log.ts';

/** How node proxies are reached. */
export interface ProxyAccess {
  /** Nodes with a running proxy, and its pod's name. */
  list(): Promise<readonly { readonly node: string; readonly pod: string }[]>;
  /** `/config_dump` of the proxy in this pod. */
  dump(pod: string): Promise<string>;
  /** The last lines of its log. */
  log(pod: string): Promise<readonly string[]>;
}

export interface ProxyView {
  readonly node: string;
  readonly pod: string;
  readonly world: IndexedWorld;
  readonly settings: DumpedSettings;
  /** What of the dump could not be understood, and is left out. */
  readonly problems: readonly DumpProblem[];
}

export class Proxies {
  readonly #access: ProxyAccess;
  readonly #views = new Map<string, Promise<Result<ProxyView, string>>>();
  #list: ReturnType<ProxyAccess['list']> | undefined;

  constructor(access: ProxyAccess) {
    this.#access = access;
  }

  /** @returns the reason where there is none, or it does not answer */
  onNode(node: string): Promise<Result<ProxyView, string>> {
    const view = this.#views.get(node) ?? this.#fetch(node);
    this.#views.set(node, view);
    return view;
  }

  /** The first that answers, those nodes first. */
  async any(...first: readonly string[]): Promise<Result<ProxyView, string>> {
    const nodes = (await this.#pods()).map(({ node }) => node);
    const reasons: string[] = [];
    for (const node of new Set([...first.filter((name) => nodes.includes(name)), ...nodes])) {
      const view = await this.onNode(node);
      if (view.ok) return view;
      reasons.push(view.error);
    }
    return fail(reasons.join('; ') || 'no node proxy runs');
  }

  async log(node: string): Promise<Result<readonly LoggedConnection[], string>> {
    const pod = await this.#podOn(node);
    if (pod === undefined) return fail(`no node proxy runs on \`${node}\``);
    try {
      return ok((await this.#access.log(pod)).flatMap((line) => parseAccessLine(line) ?? []));
    } catch (error) {
      return fail(`the log of \`${pod}\` cannot be read: ${messageOf(error)}`);
    }
  }

  async #fetch(node: string): Promise<Result<ProxyView, string>> {
    const pod = await this.#podOn(node);
    if (pod === undefined) return fail(`no node proxy runs on \`${node}\``);
    try {
      const { settings, problems, workloads, services, policies } = readDump(JSON.parse(await this.#access.dump(pod)));
      const world = new IndexedWorld(settings.network);
      world.applyAddresses([
        ...services.map((service) => ({ kind: 'service', service }) as const),
        ...workloads.map((workload) => ({ kind: 'workload', workload }) as const),
      ]);
      world.applyPolicies(policies);
      return ok({ node, pod, world, settings, problems });
    } catch (error) {
      return fail(`\`${pod}\` on \`${node}\` does not answer: ${messageOf(error)}`);
    }
  }

  async #podOn(node: string): Promise<string | undefined> {
    return (await this.#pods()).find((proxy) => proxy.node === node)?.pod;
  }

  #pods(): ReturnType<ProxyAccess['list']> {
    this.#list ??= this.#access.list();
    return this.#list;
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
