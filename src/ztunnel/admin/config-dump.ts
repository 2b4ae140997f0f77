// `/config_dump`: everything that the proxy holds, in ztunnel's JSON. Made in pieces, since a large mesh is megabytes and
// other work must go on between them; a piece shows the state of its moment. No private key is ever part of it.

import { X509Certificate } from 'node:crypto';
import type { CertificateStatus } from '../../dataplane/identity/certificates.ts';
import { pemBlocks } from '../../dataplane/identity/reply.ts';
import { formatSpiffeId } from '../../model/identity.ts';
import { formatHostPort } from '../../model/ip.ts';
import type { ConnectionInfo } from '../../telemetry/connection.ts';
import type { PodStates } from '../contracts.ts';
import type { ZtunnelState } from '../state.ts';
import { type Json, type JsonRecord, policyJson, serviceJson, stagedJson, workloadJson } from './state-json.ts';

export interface DumpSources {
  readonly state: ZtunnelState;
  readonly certificates: () => readonly CertificateStatus[];
  readonly pods: PodStates;
  readonly version: JsonRecord;
  /** `describeConfig`. */
  readonly config: Json;
  /** What the local state file gave. */
  readonly staticConfig: JsonRecord;
}

/** One certificate of a PEM text. */
function certificateJson(pem: string): JsonRecord {
  const certificate = new X509Certificate(pem);
  const seconds = (date: Date): string => date.toISOString().replace(/\.\d+Z$/, 'Z');
  return {
    pem: Buffer.from(pem).toString('base64'),
    serialNumber: BigInt(`0x${certificate.serialNumber}`).toString(),
    validFrom: seconds(certificate.validFromDate),
    expirationTime: seconds(certificate.validToDate),
  };
}

export const certificateStatusJson = ({ identity, state, certificate }: CertificateStatus): JsonRecord => ({
  identity: formatSpiffeId(identity),
  state,
  certChain: pemBlocks(certificate?.certificateChainPem ?? '').map(certificateJson),
  rootCerts: pemBlocks(certificate?.rootsPem ?? '').map(certificateJson),
});

const connectionJson = (info: ConnectionInfo): JsonRecord => ({
  src: formatHostPort(info.sourceAddress),
  originalDst: formatHostPort(info.originalDestination),
  actualDst: formatHostPort(info.destinationAddress),
  protocol: info.hboneAuthority === undefined ? 'TCP' : 'HBONE',
});

function* podStatesJson(pods: PodStates): Iterable<[string, JsonRecord]> {
  for (const { uid, state, info, inbound, outbound } of pods.pods()) {
    const { name, namespace, serviceAccount } = info;
    const connections = { inbound: inbound.map(connectionJson), outbound: outbound.map(connectionJson) };
    yield [uid, { state, connections, info: { name, namespace, serviceAccount } }];
  }
}

const by =
  <T>(text: (item: T) => string) =>
  (a: T, b: T): number => {
    const [x, y] = [text(a), text(b)];
    return x < y ? -1 : x > y ? 1 : 0;
  };

/** Elements of an array that are made as they are written. */
type Section =
  | { readonly kind: 'value'; readonly value: Json }
  | { readonly kind: 'array'; readonly items: () => Iterable<Json> }
  | { readonly kind: 'object'; readonly entries: () => Iterable<[string, Json]> };

/** The keys of the dump, in the order in which they are written. */
function sections(sources: DumpSources): [string, Section][] {
  const { world } = sources.state;
  return [
    [
      'workloads',
      {
        kind: 'array',
        *items() {
          for (const workload of [...world.workloads()].sort(by((w) => w.uid))) yield workloadJson(workload);
        },
      },
    ],
    [
      'services',
      {
        kind: 'array',
        *items() {
          for (const service of [...world.services()].sort(by((s) => `${s.hostname}\0${s.namespace}`)))
            yield serviceJson(service, world.endpoints(`${service.namespace}/${service.hostname}`));
        },
      },
    ],
    [
      'policies',
      {
        kind: 'array',
        *items() {
          for (const policy of [...world.policies()].sort(by((p) => p.key))) yield policyJson(policy);
        },
      },
    ],
    [
      'stagedServices',
      {
        kind: 'object',
        *entries() {
          for (const [key, members] of world.stagedServices()) yield [key, stagedJson(members, key)];
        },
      },
    ],
    ['staticConfig', { kind: 'value', value: sources.staticConfig }],
    ['version', { kind: 'value', value: sources.version }],
    ['config', { kind: 'value', value: sources.config }],
    [
      'certificates',
      {
        kind: 'array',
        *items() {
          for (const status of sources.certificates()) yield certificateStatusJson(status);
        },
      },
    ],
    ['workloadState', { kind: 'object', entries: () => podStatesJson(sources.pods) }],
  ];
}

const ITEMS_PER_TURN = 200;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The dump as text, with a turn of the event loop after every few hundred items. */
export async function* configDump(sources: DumpSources): AsyncIterable<string> {
  let text = '{';
  let first = true;
  for (const [key, section] of sections(sources)) {
    text += `${first ? '' : ','}\n  ${JSON.stringify(key)}: `;
    first = false;
    if (section.kind === 'value') {
      text += JSON.stringify(section.value);
      continue;
    }
    text += section.kind === 'array' ? '[' : '{';
    let count = 0;
    for (const item of section.kind === 'array' ? section.items() : section.entries()) {
      const body = Array.isArray(item)
        ? `${JSON.stringify(item[0])}: ${JSON.stringify(item[1])}`
        : JSON.stringify(item);
      text += `${count === 0 ? '' : ','}\n    ${body}`;
      if (++count % ITEMS_PER_TURN !== 0) continue;
      yield text;
      text = '';
      await turn();
    }
    text += `${count === 0 ? '' : '\n  '}${section.kind === 'array' ? ']' : '}'}`;
  }
  yield `${text}\n}\n`;
}
