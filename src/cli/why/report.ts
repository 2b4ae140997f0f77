// The whole answer to `ambit why`: who is meant, what the node proxies of both sides hold and decide, and what their
// access logs tell of the latest connections. Nothing is assumed silently: what could not be asked stands in the notes.

import type { KubeClient } from '../../kube/client/types.ts';
import { formatHostPort, type HostPort, type Ip, isV4 } from '../../model/ip.ts';
import { HBONE_PORT } from '../../model/ports.ts';
import type { FarSide, WhyAnswer, WhyEnd, WhyOutcome } from '../../model/why.ts';
import { countEndpoints, explainEndpoints } from '../../model/why-endpoints.ts';
import type { Workload } from '../../model/workload.ts';
import type { World } from '../../model/world.ts';
import { type Destination, resolveDestination } from './destination.ts';
import { grouped } from './groups.ts';
import { parseTarget } from './names.ts';
import { type Between, difference, type PastConnection, pastConnections } from './past.ts';
import { addressOf, podKey } from './pods.ts';
import type { Proxies, ProxyView } from './proxies.ts';
import { type AskedRequest, explainBehind, type RequestAnswer, type Waypoints } from './request.ts';
import { findSource, type Source } from './source.ts';

/** `differs`: not every endpoint answers alike. */
export type Outcome = WhyOutcome | 'differs';

/** Plain data: what `-o json` prints. */
export interface WhyReport {
  readonly outcome: Outcome;
  /** What was asked, as it was understood. */
  readonly question: { readonly source: string; readonly destination: string };
  /** Who dials. */
  readonly source: WhyEnd;
  /** The answer in sentences; of endpoints that answer alike, the first one's. */
  readonly words: readonly string[];
  /** One for each address dialled and each endpoint behind it. */
  readonly answers: readonly WhyAnswer[];
  /** What waypoints on the way make of the request. */
  readonly requests: readonly RequestAnswer[];
  /** Whose knowledge it is: pods of node proxies. */
  readonly asked: { readonly routing: string; readonly authorization: readonly string[] };
  /** The latest connections between the two that the access logs tell of, newest first. */
  readonly recent: readonly PastConnection[];
  /** Where the latest of them ended otherwise than one would now. */
  readonly difference: string | undefined;
  readonly notes: readonly string[];
}

export interface Question {
  readonly source: string;
  readonly destination: string;
  /** -n, or `default`. */
  readonly namespace: string;
  /** For waypoints on the way. */
  readonly request: AskedRequest;
}

export interface Means {
  readonly client: KubeClient;
  readonly proxies: Proxies;
  readonly waypoints: Waypoints;
  readonly resolveHost: (name: string) => Promise<readonly string[]>;
}

const MAX_ENDPOINTS = 200;
/** Node proxies asked at the destination's side. */
const MAX_NODES = 8;
const MAX_RECENT = 10;
/** What a client's own port is said to be; no decision asks about it. */
const ANY_PORT = 0;

/** @throws Failure where the question cannot be answered */
export async function explain(question: Question, means: Means): Promise<WhyReport> {
  const target = parseTarget(question.destination);
  const notes: string[] = [];
  const source = await findSource(question.source, question.namespace, means.client, means.proxies, notes);
  const { view, workload } = source;
  const destination = await resolveDestination(target, {
    client: means.client,
    world: view.world,
    clusterDomain: view.settings.clusterDomain,
    source: workload,
    namespace: source.namespace,
    resolveHost: means.resolveHost,
  });
  notes.push(...destination.notes, ...problemNotes(view));
  if (destination.dials.length === 0) return noAddress(source, destination, notes);

  const near = ask(view.world, workload, destination.dials, notes);
  const far = await farSides(near, view, means.proxies, notes);
  const answers = destination.dials.flatMap((to) =>
    explainEndpoints(view.world, workload, dialOf(workload, to), MAX_ENDPOINTS, far.side),
  );
  const recent = await recentBetween(source, destination, answers, means.proxies, notes);
  const requests = await behindWaypoints(question.request, source, destination, answers, far.side, means, notes);
  const head = headOf(source, destination, answers);
  const outcome = requests.length === 0 ? head.outcome : outcomeBehind(head.outcome, requests);
  return {
    ...head,
    outcome,
    words: [...head.words, ...requests.flatMap(({ words }) => words)],
    answers,
    requests,
    asked: { routing: view.pod, authorization: far.asked },
    recent,
    difference: difference(recent[0], outcomeOf(answers)),
    notes: [...new Set(notes)],
  };
}

function headOf(
  source: Source,
  destination: Destination,
  answers: readonly WhyAnswer[],
): Pick<WhyReport, 'outcome' | 'question' | 'source' | 'words'> {
  const [first] = answers;
  return {
    outcome: outcomeOf(answers),
    question: { source: source.label, destination: destination.label },
    source: first?.source ?? endOf(source.workload),
    words: grouped(answers).flatMap(({ answer }) => answer.words),
  };
}

const endOf = ({ uid, name, namespace, tunnelProtocol, node }: Workload): WhyEnd => ({
  workload: uid,
  name,
  namespace,
  identity: undefined,
  enrolled: tunnelProtocol === 'hbone',
  node,
});

function dialOf(source: Workload, destination: HostPort) {
  const ip = source.addresses.find((own) => isV4(own) === isV4(destination.ip)) ?? source.addresses[0];
  return { client: { ip: ip ?? ('0.0.0.0' as Ip), port: ANY_PORT }, destination };
}

/** Every endpoint by the source's side alone, to learn which nodes have a say. */
function ask(world: World, source: Workload, dials: readonly HostPort[], notes: string[]): WhyAnswer[] {
  return dials.flatMap((to) => {
    const dial = dialOf(source, to);
    const count = countEndpoints(world, source, dial);
    if (count > MAX_ENDPOINTS) notes.push(`${formatHostPort(to)} has ${count} endpoints: ${MAX_ENDPOINTS} are asked`);
    return explainEndpoints(world, source, dial, MAX_ENDPOINTS);
  });
}

/** The destinations' own node proxies decide there. */
async function farSides(
  answers: readonly WhyAnswer[],
  near: ProxyView,
  proxies: Proxies,
  notes: string[],
): Promise<{ side: FarSide; asked: readonly string[] }> {
  const enrolled = answers.flatMap(({ destination }) => (destination?.enrolled ? [destination.node] : []));
  const nodes = [...new Set(enrolled.filter((node) => node !== ''))];
  if (nodes.length > MAX_NODES)
    notes.push(
      `the endpoints are on ${nodes.length} nodes: the proxies of ${MAX_NODES} are asked, \`${near.pod}\` for the others`,
    );
  const views = new Map<string, ProxyView>();
  for (const view of await Promise.all(nodes.slice(0, MAX_NODES).map((node) => proxies.onNode(node)))) {
    if (view.ok) {
      views.set(view.value.node, view.value);
      if (view.value !== near) notes.push(...problemNotes(view.value));
    } else notes.push(`${view.error}: its policies are judged by what \`${near.pod}\` on \`${near.node}\` holds`);
  }
  const side: FarSide = (destination) => {
    const view = views.get(destination.node);
    const own = view?.world.workload(destination.uid);
    if (view !== undefined && own === undefined)
      notes.push(
        `\`${view.pod}\` does not know \`${destination.namespace}/${destination.name}\`: \`${near.pod}\` does`,
      );
    return own === undefined
      ? { world: near.world, workload: destination }
      : { world: view?.world ?? near.world, workload: own };
  };
  return { side, asked: enrolled.length === 0 ? [] : [...new Set([...views.values()].map(({ pod }) => pod))] };
}

const problemNotes = ({ pod, problems }: ProxyView): string[] =>
  problems.length === 0
    ? []
    : [
        `${problems.length} items of the dump of \`${pod}\` are not understood and left out, the first: ${problems[0]?.at} ${problems[0]?.message}`,
      ];

function outcomeOf(answers: readonly WhyAnswer[]): Outcome {
  const outcomes = new Set(answers.map(({ outcome }) => outcome));
  const [only] = outcomes;
  return outcomes.size === 1 && only !== undefined ? only : 'differs';
}

/** Each waypoint once. */
async function behindWaypoints(
  request: AskedRequest,
  source: Source,
  destination: Destination,
  answers: readonly WhyAnswer[],
  farSide: FarSide,
  { waypoints }: Means,
  notes: string[],
): Promise<readonly RequestAnswer[]> {
  const { service } = destination;
  const [dial] = destination.dials;
  if (service === undefined || dial === undefined) return [];
  const { world } = source.view;
  const hops = new Map(
    answers.flatMap((answer) =>
      answer.path.kind === 'hbone' && answer.path.via === 'waypoint' && answer.destination !== undefined
        ? [[answer.destination.workload, answer] as const]
        : [],
    ),
  );
  const behind = await Promise.all(
    [...hops.values()].map((answer) =>
      explainBehind(
        request,
        { answer, source: source.workload, service, port: dial.port, world, farSide },
        waypoints,
        notes,
      ),
    ),
  );
  return behind.filter((answer) => answer !== undefined);
}

/** What waypoints answer themselves, and how their own way on fares. */
function outcomeBehind(before: Outcome, requests: readonly RequestAnswer[]): Outcome {
  const outcomes = new Set<Outcome>(
    requests.flatMap(({ outcome, onwards }): Outcome[] => {
      if (outcome.kind === 'asks') return ['undecided'];
      if (outcome.kind === 'answered') return [outcome.status < 400 ? 'allowed' : 'refused'];
      return onwards.length === 0 ? [before] : onwards.map((onward) => onward.outcome);
    }),
  );
  const [only] = outcomes;
  return outcomes.size === 1 && only !== undefined ? only : 'differs';
}

async function recentBetween(
  source: Source,
  destination: Destination,
  answers: readonly WhyAnswer[],
  proxies: Proxies,
  notes: string[],
): Promise<readonly PastConnection[]> {
  const nodes = new Set([source.view.node, source.workload.node, ...answers.map((a) => a.destination?.node ?? '')]);
  nodes.delete('');
  const logs = await Promise.all([...nodes].slice(0, MAX_NODES + 1).map((node) => proxies.log(node)));
  const lines = logs.flatMap((log) => {
    if (log.ok) return log.value;
    notes.push(`${log.error}: past connections that only it told of are not shown`);
    return [];
  });
  return pastConnections(lines, betweenOf(source, destination, answers), MAX_RECENT);
}

function betweenOf(source: Source, destination: Destination, answers: readonly WhyAnswer[]): Between {
  const behind = answers.flatMap(({ path }) => {
    if (path.kind === 'hbone') return [path.authority];
    return path.kind === 'plain' ? [path.hop] : [];
  });
  const addresses = [...destination.dials.map(formatHostPort), ...behind];
  const ports = addresses.map((address) => Number(address.slice(address.lastIndexOf(':') + 1)));
  const own = [`${source.workload.namespace}/${source.workload.name}`, ...source.pods.map(podKey)];
  const ends = answers.flatMap(({ destination: to }) => (to === undefined ? [] : [`${to.namespace}/${to.name}`]));
  // Endpoints that are refused have no path: their ports stand with the service.
  const targets = destination.service?.ports.filter(({ servicePort }) => ports.includes(servicePort)) ?? [];
  return {
    sources: new Set(own),
    sourceIps: new Set([...source.workload.addresses, ...source.pods.flatMap((pod) => addressOf(pod) ?? [])]),
    destinations: new Set(ends),
    destinationIps: new Set(
      addresses.map((address) => address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '')),
    ),
    service: destination.service?.hostname,
    ports: new Set([...ports, ...targets.map(({ targetPort }) => targetPort)].filter((port) => port !== HBONE_PORT)),
  };
}

/** The name exists and leads to nobody. */
function noAddress(source: Source, destination: Destination, notes: readonly string[]): WhyReport {
  const { name, namespace } = source.workload;
  const text = `${destination.label} has no address: no ready pod is behind it`;
  const answer: WhyAnswer = {
    outcome: 'refused',
    source: endOf(source.workload),
    dialled: destination.label,
    service: destination.service?.hostname,
    path: { kind: 'refused', at: 'source', why: 'noAddress', text },
    destination: undefined,
    authorization: undefined,
    words: [`${namespace}/${name} looks up ${destination.label}`, `refused where it starts: ${text}`],
  };
  return {
    ...headOf(source, destination, [answer]),
    answers: [answer],
    requests: [],
    asked: { routing: source.view.pod, authorization: [] },
    recent: [],
    difference: undefined,
    notes,
  };
}
