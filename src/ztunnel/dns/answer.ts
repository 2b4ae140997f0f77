// What to do with one DNS query of a pod: answer from the mesh's state, refuse, or forward. Pure; sockets are the server's.

import { DNS_TTL_SECONDS, type DnsOptions, dnsLookup } from '../../model/dns.ts';
import type { Workload } from '../../model/workload.ts';
import type { World } from '../../model/world.ts';
import { decodeHeader, decodeMessage } from '../../wire/dns/decode.ts';
import { MIN_UDP_BYTES } from '../../wire/dns/encode.ts';
import {
  CLASS_IN,
  type DnsRecord,
  type Edns,
  type Header,
  type Message,
  OPCODE_QUERY,
  type Question,
  RCODE,
  TYPE,
} from '../../wire/dns/message.ts';
import { canonicalName } from '../../wire/dns/name.ts';

/** A query that is worth an answer: exactly one question. */
export interface Query {
  readonly message: Message;
  readonly question: Question;
}

/** `drop`: not even a header, so there is nobody to answer. */
export type Read =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'refuse'; readonly reply: Message }
  | { readonly kind: 'drop' };

const ours = (edns: Edns | undefined): Edns | undefined =>
  edns && { payloadBytes: Math.max(MIN_UDP_BYTES, edns.payloadBytes), version: 0, dnssecOk: edns.dnssecOk };

function reply(header: Header, questions: readonly Question[], edns: Edns | undefined, rcode: number): Message {
  const { id, opcode, recursionDesired, checkingDisabled } = header;
  return {
    id,
    response: true,
    opcode,
    authoritative: false,
    truncated: false,
    recursionDesired,
    recursionAvailable: true,
    authenticData: false,
    checkingDisabled,
    rcode,
    questions,
    answers: [],
    authorities: [],
    additionals: [],
    edns: ours(edns),
  };
}

/** Reads what a client sent; answers at once what is no ordinary query. */
export function readQuery(bytes: Uint8Array): Read {
  const header = decodeHeader(bytes);
  if (!header.ok) return { kind: 'drop' };
  const decoded = decodeMessage(bytes);
  const refuse = (rcode: number): Read => {
    const { questions, edns } = decoded.ok ? decoded.value : { questions: [], edns: undefined };
    return { kind: 'refuse', reply: reply(header.value, questions.slice(0, 1), edns, rcode) };
  };
  if (header.value.response) return refuse(RCODE.formErr);
  if (header.value.opcode !== OPCODE_QUERY) return refuse(RCODE.notImp);
  if (!decoded.ok) return refuse(RCODE.formErr);
  const message = decoded.value;
  const [question, ...more] = message.questions;
  if (question === undefined || more.length > 0) return refuse(RCODE.formErr);
  if (message.edns !== undefined && message.edns.version > 0) return refuse(RCODE.badVersion);
  return { kind: 'query', query: { message, question } };
}

/** A reply without records. */
export const emptyReply = (query: Query, rcode: number): Message =>
  reply(query.message, [query.question], query.message.edns, rcode);

/** What the mesh's state answers; undefined: forward. */
export function localReply(
  query: Query,
  world: World,
  client: Workload,
  options: DnsOptions,
  random: () => number,
): Message | undefined {
  const { name, type, class: questionClass } = query.question;
  if (questionClass !== CLASS_IN || (type !== TYPE.A && type !== TYPE.AAAA)) return undefined;
  const asked = canonicalName(name);
  const answer = dnsLookup(world, client, asked, type === TYPE.A ? 'A' : 'AAAA', options);
  if (answer.kind === 'forward') return undefined;
  const fixed = { ttl: DNS_TTL_SECONDS, class: CLASS_IN };
  const aliases: DnsRecord[] = [];
  const addresses: DnsRecord[] = [];
  for (const record of answer.records) {
    // The asked name goes back in the letters in which it came: some clients check that.
    const owner = { ...fixed, name: record.owner === asked ? name : record.owner };
    if (record.type === 'CNAME') aliases.push({ ...owner, type: 'CNAME', target: record.target });
    else addresses.push({ ...owner, type: record.type, address: record.ip });
  }
  shuffle(addresses, random);
  return { ...emptyReply(query, RCODE.noError), authoritative: true, answers: [...aliases, ...addresses] };
}

/** Fisher and Yates. */
function shuffle<T>(list: T[], random: () => number): void {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j] as T, list[i] as T];
  }
}
