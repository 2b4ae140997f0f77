// The answer to "why did, or would, this connection fare so?": the path it takes, the identity on each side, and the
// policy and rule that let it through or refused it. The decisions are those that the proxies run; this only asks
// them one after the other and puts the answers into words and into plain data.

import { chooseAddress, chooseEndpoint, type Random } from './balance.ts';
import { type Connection, concreteFacts } from './connection.ts';
import {
  type AuthorizationTrace,
  describeCondition,
  explainAuthorization,
  matchedRule,
  type PolicyTrace,
} from './explain.ts';
import { formatSpiffeId, type SpiffeId } from './identity.ts';
import { decideInboundHbone, decideInboundPlaintext } from './inbound.ts';
import { formatHostPort, type HostPort } from './ip.ts';
import { upstreamAt } from './lookup.ts';
import { decideOutbound, type OutboundRoute } from './outbound.ts';
import { unreachable } from './result.ts';
import type { Service, Workload } from './workload.ts';
import { identityOf } from './workload.ts';
import type { Dial, World } from './world.ts';

/** `undecided`: somebody further on decides (a waypoint, or an address that must be resolved first). */
export type WhyOutcome = 'allowed' | 'refused' | 'undecided';

/** Plain data: what `-o json` prints. */
export interface WhyAnswer {
  readonly outcome: WhyOutcome;
  readonly source: WhyEnd;
  /** What was dialled, `ip:port`. */
  readonly dialled: string;
  /** Hostname of the service that was addressed. */
  readonly service: string | undefined;
  readonly path: WhyPath;
  /** The workload that the path leads to; a waypoint is one, too. */
  readonly destination: WhyEnd | undefined;
  /** Absent where no layer-4 policy is asked. */
  readonly authorization: WhyAuthorization | undefined;
  /** The same as sentences, in order of the path. */
  readonly words: readonly string[];
}

export interface WhyEnd {
  readonly workload: string;
  readonly name: string;
  readonly namespace: string;
  /** Proved on this connection by mutual TLS; undefined on a plain one. */
  readonly identity: string | undefined;
  readonly enrolled: boolean;
  readonly node: string;
}

export type WhyPath =
  | {
      readonly kind: 'hbone';
      readonly via: 'workload' | 'waypoint';
      readonly hop: string;
      readonly authority: string;
      readonly expect: readonly string[];
    }
  | {
      readonly kind: 'plain';
      readonly why: 'sourceNotEnrolled' | 'unknownDestination' | 'passthrough' | 'noTunnel';
      readonly hop: string;
    }
  | { readonly kind: 'resolve'; readonly hostname: string }
  | { readonly kind: 'refused'; readonly at: 'source' | 'destination'; readonly why: string; readonly text: string };

export interface WhyAuthorization {
  readonly effect: 'allow' | 'deny';
  readonly because: readonly string[];
  readonly reason: string;
  readonly policies: readonly PolicyTrace[];
  readonly missing: readonly string[];
  readonly dryRun: AuthorizationTrace['verdict']['dryRun'];
}

/**
 * What the destination's own proxy knows, where that is not what the source's knows: its world and its version of the
 * workload. It decides there.
 */
export type FarSide = (destination: Workload) => { readonly world: World; readonly workload: Workload };

/**
 * Asks for one connection of `source`. The same `random` gives the same choice of endpoint.
 * @param world   what the source's proxy knows
 * @param farSide whose word counts at the destination; without it both sides know the same
 */
export function explainConnection(
  world: World,
  source: Workload,
  dial: Dial,
  random: Random,
  farSide: FarSide = (workload) => ({ world, workload }),
): WhyAnswer {
  const enrolled = source.tunnelProtocol === 'hbone';
  return enrolled
    ? explainRoute(source, dial, decideOutbound(world, source, dial, random), farSide)
    : explainUncaptured(world, source, dial, random, farSide);
}

/** Puts one decided route into words, and asks the destination's side for its part. */
function explainRoute(source: Workload, dial: Dial, route: OutboundRoute, farSide: FarSide): WhyAnswer {
  const dialled = formatHostPort(dial.destination);
  const answer = (rest: Omit<WhyAnswer, 'source' | 'dialled'> & { readonly mutualTls: boolean }): WhyAnswer => {
    const { mutualTls, ...given } = rest;
    const words = [
      `${nameOf(source)} dials ${dialled}${given.service === undefined ? '' : ` (${given.service})`}`,
      ...given.words,
    ];
    return { source: endOf(source, mutualTls ? identityOf(source) : undefined), dialled, ...given, words };
  };
  const nothing = { destination: undefined, authorization: undefined, mutualTls: false };
  switch (route.kind) {
    case 'reject': {
      const path: WhyPath = { kind: 'refused', at: 'source', why: route.why, text: route.text };
      const words = [`refused where it starts: ${route.text}`];
      return answer({ ...nothing, outcome: 'refused', service: route.service?.hostname, path, words });
    }
    case 'resolve': {
      const path: WhyPath = { kind: 'resolve', hostname: route.hostname };
      const words = [
        `goes to ${nameOf(route.next.workload)}, whose name \`${route.hostname}\` is resolved for each connection`,
      ];
      const destination = endOf(route.next.workload, undefined);
      return answer({
        ...nothing,
        outcome: 'undecided',
        service: route.next.service?.hostname,
        path,
        destination,
        words,
      });
    }
    case 'plain': {
      const hop = formatHostPort(route.hop);
      const path: WhyPath = { kind: 'plain', why: route.why, hop };
      const destination = route.destination && endOf(route.destination, undefined);
      const words = [`goes in plain text to ${hop}: ${PLAIN_WORDS[route.why]}`];
      return answer({ ...nothing, outcome: 'allowed', service: route.service?.hostname, path, destination, words });
    }
    case 'hbone': {
      const { via, hop, authority, expect, service } = route;
      const { world, workload: destination } = farSide(route.destination);
      const path: WhyPath = {
        kind: 'hbone',
        via,
        hop: formatHostPort(hop),
        authority: formatHostPort(authority),
        expect: expect.map(formatSpiffeId),
      };
      const ends = {
        service: service?.hostname,
        destination: endOf(destination, identityOf(destination)),
        mutualTls: true,
      };
      const tunnel = `as ${formatSpiffeId(identityOf(source))} through a mutual TLS tunnel to ${path.hop}, which must be ${path.expect.join(' or ')}`;
      if (via === 'waypoint') {
        const words = [`goes ${tunnel}`, `the waypoint ${nameOf(destination)} decides about the rest`];
        return answer({ ...ends, outcome: 'undecided', path, authorization: undefined, words });
      }
      const inbound = decideInboundHbone(world, destination, tunnelRequest(source, dial, hop, path.authority), {
        localhostApplicationTunnel: true,
      });
      if (inbound.kind === 'refuse') {
        const refused: WhyPath = { kind: 'refused', at: 'destination', why: inbound.why, text: inbound.text };
        const words = [
          `goes ${tunnel}`,
          `refused at ${nameOf(destination)} with status ${inbound.status}: ${inbound.text}`,
        ];
        return answer({ ...ends, outcome: 'refused', path: refused, authorization: undefined, words });
      }
      const { authorization, words } = judgeAt(world, destination, inbound.connection);
      const outcome = authorization.effect === 'allow' ? 'allowed' : 'refused';
      return answer({ ...ends, outcome, path, authorization, words: [`goes ${tunnel}`, ...words] });
    }
    default:
      return unreachable(route);
  }
}

/** A source outside the mesh: nobody captures what it dials; the destination may be captured. */
function explainUncaptured(near: World, source: Workload, dial: Dial, random: Random, farSide: FarSide): WhyAnswer {
  const { destination: at, service } = arrival(near, source, dial, random);
  const dialled = formatHostPort(dial.destination);
  const hop = formatHostPort(at.address);
  const path: WhyPath = { kind: 'plain', why: 'sourceNotEnrolled', hop };
  const base = { source: endOf(source, undefined), dialled, service: service?.hostname, path };
  const start = [
    `${nameOf(source)} dials ${dialled}${service === undefined ? '' : ` (${service.hostname})`}`,
    `goes in plain text to ${hop}: ${nameOf(source)} is not in the mesh`,
  ];
  const far = at.workload && farSide(at.workload);
  if (far === undefined || far.workload.tunnelProtocol === 'none') {
    const words = [...start, 'the destination is not in the mesh either: nobody asks a policy'];
    const destination = far && endOf(far.workload, undefined);
    return { ...base, outcome: 'allowed', destination, authorization: undefined, words };
  }
  const { world, workload } = far;
  const destination = endOf(workload, undefined);
  const inbound = decideInboundPlaintext(world, workload, dial.client, at.address);
  if (inbound.kind === 'refuse') {
    const refused: WhyPath = { kind: 'refused', at: 'destination', why: inbound.why, text: inbound.text };
    const words = [...start, `refused at ${nameOf(workload)}: ${inbound.text}`];
    return { ...base, path: refused, outcome: 'refused', destination, authorization: undefined, words };
  }
  const { authorization, words } = judgeAt(world, workload, inbound.connection);
  const outcome = authorization.effect === 'allow' ? 'allowed' : 'refused';
  return { ...base, outcome, destination, authorization, words: [...start, ...words] };
}

/** Where the cluster's own service rules lead. */
function arrival(world: World, source: Workload, dial: Dial, random: Random) {
  const upstream = upstreamAt(world, source.network, dial.destination.ip, source);
  const service: Service | undefined = upstream?.kind === 'service' ? upstream.service : undefined;
  const dialled: HostPort = dial.destination;
  if (upstream?.kind === 'workload') return { service, destination: { address: dialled, workload: upstream.workload } };
  const chosen = service && chooseEndpoint(world, source, service, dialled.port, 'standard', random);
  const address = chosen && service && chooseAddress(chosen.workload, dialled.ip, service.ipFamilies);
  return chosen && address?.kind === 'ip'
    ? { service, destination: { address: { ip: address.ip, port: chosen.port }, workload: chosen.workload } }
    : { service, destination: { address: dialled, workload: undefined } };
}

const tunnelRequest = (source: Workload, dial: Dial, hop: HostPort, authority: string) => ({
  authority,
  localIp: hop.ip,
  peer: dial.client,
  identity: identityOf(source),
  forwardedNetwork: undefined,
  forwardedHost: undefined,
});

function judgeAt(
  world: World,
  destination: Workload,
  connection: Connection,
): { readonly authorization: WhyAuthorization; readonly words: readonly string[] } {
  const trace = explainAuthorization(world, destination, concreteFacts(connection));
  const { verdict, policies, missing } = trace;
  const { effect, because, reason, dryRun } = verdict;
  return {
    authorization: { effect, because, reason, policies, missing, dryRun },
    words: authorizationWords(destination, trace),
  };
}

/** The verdict, and for each policy that counts which rule matched or where each rule failed. */
export function authorizationWords(destination: Workload, trace: AuthorizationTrace): readonly string[] {
  const { verdict, policies, missing } = trace;
  const words = [`${nameOf(destination)} ${verdict.effect === 'allow' ? 'allows' : 'refuses'} it: ${verdict.reason}`];
  for (const key of verdict.because) {
    const policy = policies.find((candidate) => candidate.policy === key);
    const rule = policy && matchedRule(policy);
    if (rule !== undefined) words.push(`rule ${rule.index + 1} of ${key} matched${conditionsOf(rule.everyClause)}`);
  }
  if (verdict.effect === 'deny' && verdict.because.length === 0)
    for (const policy of policies) if (policy.action === 'allow' && !policy.dryRun) words.push(...failures(policy));
  for (const finding of verdict.dryRun)
    words.push(`dry run: ${finding.policy ?? 'no allow policy matches, so it'} would ${finding.would} it`);
  for (const key of missing) words.push(`policy ${key} is listed but not known: it restricts nothing`);
  return words;
}

type ClauseTraces = PolicyTrace['rules'][number]['everyClause'];

function conditionsOf(clauses: ClauseTraces): string {
  const held = clauses.flatMap((clause) => clause.anyMatch.find((match) => match.matched)?.conditions ?? []);
  return held.length === 0 ? ' (it has no condition)' : ` (${held.map(describeCondition).join('; ')})`;
}

function failures(policy: PolicyTrace): string[] {
  if (policy.rules.length === 0) return [`${policy.policy} has no rules, so that it never allows`];
  return policy.rules.map((rule) => {
    const failed = rule.everyClause
      .filter((clause) => !clause.matched)
      .flatMap((clause) =>
        clause.anyMatch.flatMap((match) => match.conditions.filter((condition) => !condition.holds)),
      );
    const wanted =
      failed.length === 0 ? 'a condition that nothing satisfies' : failed.map(describeCondition).join('; ');
    return `rule ${rule.index + 1} of ${policy.policy} wants ${wanted}`;
  });
}

const PLAIN_WORDS = {
  unknownDestination: 'the mesh does not know the destination',
  passthrough: 'the service passes connections through unchanged',
  noTunnel: 'the destination is not in the mesh',
} as const;

const nameOf = (workload: Workload): string => `${workload.namespace}/${workload.name}`;

const endOf = (workload: Workload, identity: SpiffeId | undefined): WhyEnd => ({
  workload: workload.uid,
  name: workload.name,
  namespace: workload.namespace,
  identity: identity && formatSpiffeId(identity),
  enrolled: workload.tunnelProtocol === 'hbone',
  node: workload.node,
});
