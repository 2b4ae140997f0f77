// A request as it came, made ready to be judged: what its client may not say is taken out, what proxies say of it is
// written, and its path brought into the one form that is judged, routed and sent.

import type { Connection } from '../../model/connection.ts';
import type { SpiffeId } from '../../model/identity.ts';
import type { ProxyConfig } from '../../model/proxy/proxy-config.ts';
import { normalizePath } from '../../wire/http1/index.ts';
import type { ClientInfo, LocalReply } from '../contracts.ts';
import { applyForwarding, stripEdgeFields, writeClientCertificate } from '../security/forwarded.ts';
import type { RequestStart } from '../streams/http-stream.ts';
import { BAD_PATH } from './local-reply.ts';
import { RequestView } from './request-view.ts';

/** Who sends requests over one client connection. */
export interface Visitor {
  readonly client: ClientInfo;
  readonly connection: Connection;
  /** At a gateway: everybody is a stranger. */
  readonly edge: boolean;
}

export interface Received {
  readonly start: RequestStart;
  readonly client: ClientInfo;
  readonly view: RequestView;
  readonly edge: boolean;
}

const NO_PATH = { path: '', query: '' };

/** @returns with it, what is wrong with the head, if anything: to be answered, asking nobody */
export function receiveRequest(
  { client, connection, edge }: Visitor,
  own: SpiffeId,
  start: RequestStart,
  proxy: ProxyConfig | undefined,
): { readonly received: Received; readonly refused: LocalReply | undefined } {
  const { fields, method } = start;
  const carried = client.secure && edge ? 'https' : 'http';
  if (edge || client.identity === undefined) stripEdgeFields(fields);
  const tells = edge ? client.clientCertificate !== undefined : proxy?.writesClientIdentity === true;
  writeClientCertificate(
    fields,
    tells ? { own, client: edge ? undefined : client.identity, certificate: client.clientCertificate } : undefined,
  );
  const remoteIp = applyForwarding(fields, {
    place: edge ? 'edge' : 'inner',
    trustedProxies: proxy?.trustedProxies ?? 0,
    peer: client.source.ip,
    scheme: carried,
  });
  const scheme = fields.get('x-forwarded-proto') === 'https' ? 'https' : 'http';
  const normal = method === 'CONNECT' ? undefined : normalizePath(start.target, proxy?.pathNormalization ?? 'BASE');
  const view = new RequestView(
    connection,
    method,
    scheme,
    (start.authority ?? '').toLowerCase(),
    normal?.ok ? normal.value : NO_PATH,
    fields,
    remoteIp,
    client.serverName,
  );
  return { received: { start, client, view, edge }, refused: normal?.ok === false ? BAD_PATH : undefined };
}
