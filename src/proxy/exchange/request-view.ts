// A request as policies and routes see it: its normal form, over the very fields that go upstream.

import type { Connection } from '../../model/connection.ts';
import type { HttpRequest, VerifiedToken } from '../../model/http/request.ts';
import type { Ip } from '../../model/ip.ts';
import type { Fields, NormalPath } from '../../wire/http1/index.ts';

export class RequestView implements HttpRequest {
  readonly connection: Connection;
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Fields;
  readonly remoteIp: Ip | undefined;
  readonly sni: string | undefined;
  /** Set once tokens were looked at. */
  token: VerifiedToken | undefined = undefined;

  constructor(
    connection: Connection,
    method: string,
    scheme: string,
    authority: string,
    { path, query }: NormalPath,
    headers: Fields,
    remoteIp: Ip | undefined,
    sni: string | undefined,
  ) {
    this.connection = connection;
    this.method = method;
    this.scheme = scheme;
    this.authority = authority;
    this.path = path;
    this.query = query;
    this.headers = headers;
    this.remoteIp = remoteIp;
    this.sni = sni;
  }
}
