// The Node that a proxy introduces itself with: who it says it is, and whether its token agrees.

import { isIP } from 'node:net';
import type { Node } from '../../wire/gen/envoy/config/core/v3/node_pb.ts';
import type { Caller } from '../auth/caller.ts';
import { GrpcFailure } from '../grpc/failure.ts';

export const PROXY_KINDS = ['ztunnel', 'waypoint', 'router', 'sidecar', 'agentgateway'] as const;
export type ProxyKind = (typeof PROXY_KINDS)[number];

export interface ProxyNode {
  /** As sent: `kind~ip~pod.namespace~domain`. */
  readonly id: string;
  readonly kind: ProxyKind;
  /** `pod.namespace`, as proxy-status shows it. */
  readonly name: string;
  readonly namespace: string;
  /** `<namespace>/<name>` of the Gateway that a waypoint or router is an instance of; empty for others. */
  readonly gateway: string;
  /** The Kubernetes node it runs on; empty when it does not say. */
  readonly nodeName: string;
  readonly clusterId: string;
  readonly version: string;
}

const MAX_ID_CHARS = 1000;
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/**
 * Reads and checks a Node.
 * @param caller  undefined when identities are not checked
 * @throws GrpcFailure InvalidArgument, or PermissionDenied when it claims a namespace that is not its account's
 */
export function readNode(node: Node | undefined, caller: Caller | undefined): ProxyNode {
  const invalid = (why: string): GrpcFailure => new GrpcFailure('InvalidArgument', `node: ${why}`);
  if (node === undefined || node.id === '') throw invalid('the first request carries no node.id');
  if (node.id.length > MAX_ID_CHARS) throw invalid('the id is too long');
  const parts = node.id.split('~');
  const [kind = '', ip = '', name = ''] = parts;
  if (parts.length !== 4) throw invalid(`\`${node.id}\` is not of the form kind~ip~pod.namespace~domain`);
  if (!(PROXY_KINDS as readonly string[]).includes(kind)) throw invalid(`\`${kind}\` is no kind of proxy`);
  const metadata = node.metadata ?? {};
  const addresses = [ip, ...text(metadata.INSTANCE_IPS).split(',')];
  if (!addresses.some((address) => isIP(address.trim()) !== 0)) throw invalid('no valid address');
  const namespace = text(metadata.NAMESPACE);
  if (caller !== undefined && namespace !== caller.namespace)
    throw new GrpcFailure(
      'PermissionDenied',
      `node: it says namespace \`${namespace}\`, its credential says \`${caller.namespace}\``,
    );
  return {
    id: node.id,
    kind: kind as ProxyKind,
    name,
    namespace,
    gateway: gatewayOf(kind, namespace, text(metadata.GATEWAY_NAME)),
    nodeName: text(metadata.NODE_NAME),
    clusterId: text(metadata.CLUSTER_ID) || 'Kubernetes',
    version: text(metadata.ISTIO_VERSION),
  };
}

const gatewayOf = (kind: string, namespace: string, name: string): string =>
  (kind === 'waypoint' || kind === 'router') && name !== '' ? `${namespace}/${name}` : '';
