// What a node proxy shows at `/config_dump`, and the local file that it can be given instead of a control plane
// (LOCAL_XDS_PATH), as the model: both have the same shapes, in JSON or YAML. Parsed values in, no text.

import type { Policy } from '../../model/policy.ts';
import { fail, type NonEmpty, ok, type Result } from '../../model/result.ts';
import type { PortMapping, Service, ServiceKey, Workload } from '../../model/workload.ts';
import { serviceKey } from '../../model/workload.ts';
import { readPolicy } from './policy.ts';
import { type DumpProblem, type Fields, Node, readEach } from './read.ts';
import { type DumpedService, readEndpoints, readService } from './service.ts';
import { readWorkload } from './workload.ts';

export type { DumpProblem } from './read.ts';

/** What the proxy was told about itself, as far as decisions depend on it. */
export interface DumpedSettings {
  /** Empty is the default network. */
  readonly network: string;
  readonly clusterDomain: string;
}

export interface DumpedState {
  readonly workloads: readonly Workload[];
  readonly services: readonly Service[];
  readonly policies: readonly Policy[];
}

/**
 * Reads a dump of any make and version as far as it goes: fields that are not known are passed over, an item that
 * cannot be understood is left out and told.
 */
export function readDump(
  value: unknown,
): DumpedState & { readonly settings: DumpedSettings; readonly problems: readonly DumpProblem[] } {
  const { state, fields, problems } = read(value, false);
  const config = fields?.get('config');
  const [settings] =
    config === undefined || config.absent ? [] : readEach([config], problems, (node) => readSettings(node.fields()));
  return { ...state, settings: settings ?? DEFAULT_SETTINGS, problems };
}

const readSettings = (fields: Fields): DumpedSettings => ({
  network: fields.get('network').textOr(DEFAULT_SETTINGS.network),
  clusterDomain: fields.get('clusterDomain').textOr(DEFAULT_SETTINGS.clusterDomain),
});

/**
 * Reads a file that somebody wrote: all or nothing, and a field that is not known is a problem.
 * @returns every item's first problem
 */
export function decodeLocalState(value: unknown): Result<DumpedState, NonEmpty<DumpProblem>> {
  const { state, problems } = read(value, true);
  const [first, ...others] = problems;
  return first === undefined ? ok(state) : fail([first, ...others]);
}

const DEFAULT_SETTINGS: DumpedSettings = { network: '', clusterDomain: 'cluster.local' };
const LOCAL_FIELDS: ReadonlySet<string> = new Set(['workloads', 'services', 'policies']);

function read(value: unknown, local: boolean) {
  const problems: DumpProblem[] = [];
  const [fields] = readEach([new Node(value ?? {}, '')], problems, (node) => {
    const top = node.fields();
    if (local) top.only(LOCAL_FIELDS);
    return top;
  });
  const items = <T>(name: string, one: (node: Node) => T): T[] => {
    if (fields === undefined) return [];
    const [list] = readEach([fields.get(name)], problems, (node) => node.list());
    return readEach(list ?? [], problems, one);
  };
  const services = items('services', (node) => readService(node, local));
  const workloads = items('workloads', (node) => readWorkload(node, local));
  const policies = items('policies', (node) => readPolicy(node, local));
  const staged = local || fields === undefined ? [] : readStaged(fields, problems);
  const state: DumpedState = {
    workloads: joinMembership(workloads, services, staged),
    services: services.map(({ service }) => service),
    policies,
  };
  return { state, fields, problems };
}

type Staged = readonly (readonly [ServiceKey, DumpedService['endpoints']])[];

/** Endpoints that came before their service. */
function readStaged(fields: Fields, problems: DumpProblem[]): Staged {
  const [entries] = readEach([fields.get('stagedServices')], problems, (node) => node.entries());
  return (entries ?? []).flatMap(([key, node]) =>
    readEach([node], problems, readEndpoints).map((endpoints) => [key, endpoints] as const),
  );
}

/** Puts a service's endpoints back to the workloads: one place of the model says who is behind what. */
function joinMembership(
  workloads: readonly Workload[],
  services: readonly DumpedService[],
  staged: Staged,
): readonly Workload[] {
  const joined = new Map<string, Map<ServiceKey, readonly PortMapping[]>>();
  const join = (key: ServiceKey, endpoints: DumpedService['endpoints']): void => {
    for (const [uid, ports] of endpoints) {
      const of = joined.get(uid) ?? new Map<ServiceKey, readonly PortMapping[]>();
      of.set(key, ports);
      joined.set(uid, of);
    }
  };
  for (const { service, endpoints } of services) join(serviceKey(service), endpoints);
  for (const [key, endpoints] of staged) join(key, endpoints);
  return workloads.map((workload) => {
    const found = joined.get(workload.uid);
    return found === undefined ? workload : { ...workload, services: new Map([...found, ...workload.services]) };
  });
}
