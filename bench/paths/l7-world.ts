// What both L7 proxies of the benchmark are configured with: one listener, a route, a policy, a token rule if asked for,
// metrics and an access log on.

import { generateKeyPairSync, sign } from 'node:crypto';
import type { Ip } from '../../src/model/ip.ts';

export const LISTEN_PORT = 15_080;
export const ISSUER = 'https://issuer.example';

export interface L7Setting {
  readonly server: Ip;
  readonly token: TokenSetting | undefined;
}

export interface TokenSetting {
  /** JWK set. */
  readonly jwks: string;
  /** Signed with its key, good for a day. */
  readonly token: string;
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** An RS256 token and the key that verifies it; made for the run. */
export function makeToken(): TokenSetting {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const now = Math.floor(Date.now() / 1000);
  const text = `${encode({ alg: 'RS256', kid: 'bench', typ: 'JWT' })}.${encode({ iss: ISSUER, sub: 'bench', iat: now, exp: now + 86_400 })}`;
  const signature = sign('sha256', Buffer.from(text), privateKey).toString('base64url');
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'bench', use: 'sig', alg: 'RS256' };
  return { jwks: JSON.stringify({ keys: [jwk] }), token: `${text}.${signature}` };
}
