// Who makes a request: a client certificate of our authority, or a bearer token. Nobody else gets an answer.

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { authorize, refusalText } from '../auth/rbac.ts';
import type { TokenAuthority } from '../auth/tokens.ts';
import { AUTHENTICATED, type UserInfo } from '../auth/user.ts';
import { forbidden, unauthorized } from '../errors.ts';
import type { Store } from '../store/store.ts';

/** A connection's certificate does not change: looked at once. */
const certificateUsers = new WeakMap<Socket, UserInfo | 'none'>();

/** @throws KubeError 401, or 403 for an impersonation that is not allowed */
export async function authenticate(request: IncomingMessage, tokens: TokenAuthority, store: Store): Promise<UserInfo> {
  const user = await identify(request, tokens);
  return impersonated(request, user, store) ?? user;
}

async function identify(request: IncomingMessage, tokens: TokenAuthority): Promise<UserInfo> {
  const { authorization } = request.headers;
  const [scheme = '', token = ''] = (authorization ?? '').split(' ', 2);
  if (scheme.toLowerCase() === 'bearer' && token !== '') {
    const verdict = await tokens.review(token, undefined);
    if (!verdict.ok) throw unauthorized();
    return verdict.user;
  }
  const user = certificateUser(request.socket);
  if (user === 'none') throw unauthorized();
  return user;
}

function certificateUser(socket: Socket): UserInfo | 'none' {
  let user = certificateUsers.get(socket);
  if (user === undefined) {
    user = readCertificate(socket);
    certificateUsers.set(socket, user);
  }
  return user;
}

function readCertificate(socket: Socket): UserInfo | 'none' {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return 'none';
  const { subject } = socket.getPeerCertificate();
  const list = (value: unknown): string[] =>
    Array.isArray(value) ? value.map(String) : value === undefined ? [] : [String(value)];
  const [username] = list(subject?.CN);
  return username === undefined ? 'none' : { username, groups: [...list(subject.O), AUTHENTICATED] };
}

/** `kubectl --as`. @throws KubeError 403 */
function impersonated(request: IncomingMessage, user: UserInfo, store: Store): UserInfo | undefined {
  const name = request.headers['impersonate-user'];
  if (typeof name !== 'string') return undefined;
  const header = request.headersDistinct['impersonate-group'] ?? [];
  const asked = [{ resource: 'users', name }, ...header.map((group) => ({ resource: 'groups', name: group }))];
  for (const { resource, name: one } of asked) {
    const attributes = { kind: 'resource', verb: 'impersonate', group: '', resource, name: one } as const;
    if (!authorize(store, user, attributes).allowed)
      throw forbidden({ group: '', plural: resource }, one, refusalText(user, attributes));
  }
  const [, , namespace] = name.split(':');
  const own = name.startsWith('system:serviceaccount:')
    ? ['system:serviceaccounts', `system:serviceaccounts:${namespace}`]
    : [];
  return { username: name, groups: [...new Set([...header, ...own, AUTHENTICATED])] };
}
