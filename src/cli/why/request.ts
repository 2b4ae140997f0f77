// What a waypoint makes of a request, and the way on from there: the part of `ambit why` behind the first hop.

import type { HttpRequest, VerifiedToken } from '../../model/http/request.ts';
import { parseSpiffeId } from '../../model/identity.ts';
import { type HostPort, isV4 } from '../../model/ip.ts';
import { explainRequest, type ProxyKnowledge, type RequestOutcome } from '../../model/proxy/explain-request.ts';
import { explainConnection, type FarSide, type WhyAnswer } from '../../model/why.ts';
import type { Service, Workload } from '../../model/workload.ts';
import { serviceKey } from '../../model/workload.ts';
import type { World } from '../../model/world.ts';
import { normalizePath } from '../../wire/http1/index.ts';
import { Failure } from '../failure.ts';

/** What a user asks about. */
export interface AskedRequest {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** Plain data. */
export interface RequestAnswer {
  /** Pod of the waypoint, `<namespace>/<name>`. */
  readonly hop: string;
  readonly outcome: RequestOutcome;
  readonly words: readonly string[];
  /** From the waypoint to each endpoint, where it forwards. */
  readonly onwards: readonly WhyAnswer[];
}

export interface Waypoints {
  /** What the proxy in this pod was told. @throws Error where it does not answer */
  knowledge(namespace: string, pod: string): Promise<ProxyKnowledge>;
}

const MAX_ENDPOINTS = 50;
const ANY_PORT = 0;

/** `-H 'name: value'`. @throws Failure */
export function readAsked(method: string, path: string, headers: readonly string[]): AskedRequest {
  const wrong = (what: string, why: string, fix: string): Failure => new Failure({ what, why, fix, exitCode: 2 });
  if (!/^[A-Z]+$/.test(method))
    throw wrong(`\`${method}\` is no method`, 'methods are words in capitals', '--method GET');
  if (!path.startsWith('/')) throw wrong(`\`${path}\` is no path`, 'a path begins with a slash', '--path /orders?x=1');
  return {
    method,
    path,
    headers: headers.map((header) => {
      const colon = header.indexOf(':');
      if (colon <= 0) throw wrong(`\`${header}\` is no header`, 'there is no colon in it', "-H 'x-tier: gold'");
      return [header.slice(0, colon).trim().toLowerCase(), header.slice(colon + 1).trim()] as const;
    }),
  };
}

export interface Hop {
  /** The answer that leads to the waypoint. */
  readonly answer: WhyAnswer;
  readonly source: Workload;
  readonly service: Service;
  readonly port: number;
  /** What the source's node proxy holds. */
  readonly world: World;
  readonly farSide: FarSide;
}

/** @returns undefined where the answer does not lead to a waypoint */
export async function explainBehind(
  asked: AskedRequest,
  hop: Hop,
  waypoints: Waypoints,
  notes: string[],
): Promise<RequestAnswer | undefined> {
  const { answer, service, port } = hop;
  const at = answer.destination;
  if (answer.path.kind !== 'hbone' || answer.path.via !== 'waypoint' || at === undefined) return undefined;
  const name = `${at.namespace}/${at.name}`;
  let known: ProxyKnowledge;
  try {
    known = await waypoints.knowledge(at.namespace, at.name);
  } catch (error) {
    notes.push(`the waypoint ${name} does not answer: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
  const key = serviceKey(service);
  const request = requestOf(asked, hop, known, notes);
  if (request === undefined)
    return {
      hop: name,
      outcome: { kind: 'answered', status: 400 },
      words: ['its path is refused with 400'],
      onwards: [],
    };
  const { outcome, words } = explainRequest(known, { kind: 'service', service: key, port }, request);
  const onwards = outcome.kind === 'answered' ? [] : onward(hop, at.workload, key);
  return { hop: name, outcome, words, onwards };
}

function requestOf(asked: AskedRequest, hop: Hop, known: ProxyKnowledge, notes: string[]): HttpRequest | undefined {
  const normal = normalizePath(asked.path, known.proxy.pathNormalization);
  if (!normal.ok) return undefined;
  const all = (key: string): string[] => asked.headers.filter(([name]) => name === key).map(([, value]) => value);
  const identity = hop.answer.source.identity === undefined ? undefined : parseSpiffeId(hop.answer.source.identity);
  const source = clientOf(hop.source, hop.service);
  const tokens = [
    ...known.proxy.security.tokens,
    ...(known.services.find(({ key }) => key === serviceKey(hop.service))?.bound?.security.tokens ?? []),
  ];
  const token = tokens.length === 0 ? undefined : tokenIn(all('authorization')[0], notes);
  return {
    connection: {
      source,
      destination: { ip: hop.service.vips[0]?.ip ?? source.ip, port: hop.port },
      identity: identity?.ok ? identity.value : undefined,
    },
    method: asked.method,
    scheme: 'http',
    authority: (all('host')[0] ?? hop.service.hostname).toLowerCase(),
    path: normal.value.path,
    query: normal.value.query,
    headers: {
      all,
      joined: (key) => (all(key).length === 0 ? undefined : all(key).join(',')),
    },
    remoteIp: source.ip,
    sni: undefined,
    token,
  };
}

/** The payload as it stands: whether the token is valid only the proxy can tell. */
function tokenIn(authorization: string | undefined, notes: string[]): VerifiedToken | undefined {
  const payload = /^Bearer [^.]+\.([^.]+)\./.exec(authorization ?? '')?.[1];
  if (payload === undefined) return undefined;
  try {
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Record<string, unknown>;
    notes.push('the token is taken as valid: its signature and times are not checked here');
    const text = (name: string): string => (typeof claims[name] === 'string' ? claims[name] : '');
    const audiences = Array.isArray(claims.aud) ? claims.aud.map(String) : text('aud') === '' ? [] : [text('aud')];
    return { principal: `${text('iss')}/${text('sub')}`, presenter: text('azp') || undefined, audiences, claims };
  } catch {
    notes.push('the token cannot be read, so the request counts as one without');
    return undefined;
  }
}

function clientOf(source: Workload, service: Service): HostPort {
  const v4 = service.vips[0] === undefined || isV4(service.vips[0].ip);
  const ip = source.addresses.find((own) => isV4(own) === v4) ?? source.addresses[0];
  return { ip: ip ?? ('0.0.0.0' as HostPort['ip']), port: ANY_PORT };
}

/** The waypoint dials endpoints itself, in its own name: their policies judge that. */
function onward(hop: Hop, waypointUid: string, key: string): readonly WhyAnswer[] {
  const pod = hop.world.workload(waypointUid);
  if (pod === undefined) return [];
  // No node proxy captures it: it makes tunnels itself.
  const waypoint: Workload = { ...pod, tunnelProtocol: 'hbone' };
  return hop.world
    .endpoints(key)
    .slice(0, MAX_ENDPOINTS)
    .flatMap(({ workload, ports }) => {
      const ip = workload.addresses[0];
      const target = ports.get(hop.port) ?? hop.port;
      if (ip === undefined) return [];
      const dial = { client: clientOf(waypoint, hop.service), destination: { ip, port: target } };
      return [explainConnection(hop.world, waypoint, dial, () => 0, hop.farSide)];
    });
}
