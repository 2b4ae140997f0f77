// An exchange as the engine would hand it to its parts, and an HttpCaller over Node's own clients, for tests.

import { request as httpRequest } from 'node:http';
import { connect } from 'node:http2';
import type { HttpRequest } from '../../model/http/request.ts';
import { request as plainRequest } from '../../model/http/testing/builders.ts';
import { ip } from '../../model/testing/builders.ts';
import { Fields } from '../../wire/http1/index.ts';
import type { ClientInfo, Exchange } from '../contracts.ts';
import type { HttpCall, HttpCallAnswer, HttpCaller } from './http-caller.ts';

export function fieldsOf(pairs: Readonly<Record<string, string | readonly string[]>>): Fields {
  const fields = new Fields();
  for (const [name, values] of Object.entries(pairs))
    for (const value of typeof values === 'string' ? [values] : values) fields.append(name, value);
  return fields;
}

export const client = (change: Partial<ClientInfo> = {}): ClientInfo => ({
  source: { ip: ip('10.0.0.1'), port: 40000 },
  destination: { ip: ip('10.0.0.2'), port: 8080 },
  identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'order' },
  peer: undefined,
  serverName: undefined,
  secure: true,
  clientCertificate: undefined,
  ...change,
});

const REQUEST_ID = '7a1d4d8e-2f3b-4c5d-8e9f-0a1b2c3d4e5f';

/** `GET http://shop.example.com/` over HTTP/1.1, from shop/order, nothing answered yet. */
export function exchange(
  headers: Readonly<Record<string, string | readonly string[]>> = {},
  request: Partial<HttpRequest> = {},
  change: Partial<Exchange> = {},
): Exchange {
  const requestFields = fieldsOf('x-request-id' in headers ? headers : { 'x-request-id': REQUEST_ID, ...headers });
  const made = plainRequest({ headers: requestFields, ...request });
  return {
    get id() {
      return requestFields.get('x-request-id') ?? '';
    },
    startedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    client: client(),
    protocol: 'HTTP/1.1',
    request: made,
    originalPath: made.path + made.query,
    requestFields,
    isGrpc: false,
    token: undefined,
    service: undefined,
    verdict: undefined,
    route: undefined,
    upstream: undefined,
    tries: 0,
    responseStatus: 0,
    responseFields: undefined,
    responseTrailers: undefined,
    details: '',
    upstreamFailure: undefined,
    flags: new Set(),
    bytesReceived: 0,
    bytesSent: 0,
    requestMessages: 0,
    responseMessages: 0,
    responseStartedAfterMs: undefined,
    endedAfterMs: undefined,
    ...change,
  };
}

/** Calls go to 127.0.0.1 at the call's port, whatever the host; what was asked is kept. */
export class NodeCaller implements HttpCaller {
  readonly calls: HttpCall[] = [];

  call(call: HttpCall): Promise<HttpCallAnswer> {
    this.calls.push(call);
    return call.protocol === 'http2' ? overHttp2(call) : overHttp1(call);
  }
}

const headersOf = (call: HttpCall): Record<string, string | string[]> => {
  const headers: Record<string, string | string[]> = {};
  for (const { name, value } of call.headers) {
    const known = headers[name];
    headers[name] = known === undefined ? value : [...(typeof known === 'string' ? [known] : known), value];
  }
  return headers;
};

function overHttp1(call: HttpCall): Promise<HttpCallAnswer> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(
      {
        host: '127.0.0.1',
        port: call.port,
        method: call.method,
        path: call.path,
        agent: false,
        headers: { host: `${call.host}:${call.port}`, ...headersOf(call), 'content-length': call.body.length },
        signal: AbortSignal.timeout(call.timeoutMs),
      },
      (answer) => {
        const pieces: Buffer[] = [];
        answer.on('data', (piece: Buffer) => pieces.push(piece));
        answer.on('error', reject);
        answer.on('end', () => {
          const fields = new Fields();
          for (let i = 0; i < answer.rawHeaders.length; i += 2)
            fields.append(answer.rawHeaders[i] as string, answer.rawHeaders[i + 1] as string);
          resolve({ status: answer.statusCode ?? 0, fields, trailers: undefined, body: Buffer.concat(pieces) });
        });
      },
    );
    sent.on('error', reject);
    sent.end(call.body);
  });
}

function overHttp2(call: HttpCall): Promise<HttpCallAnswer> {
  return new Promise((resolve, reject) => {
    const session = connect(`http://127.0.0.1:${call.port}`);
    session.on('error', reject);
    const stream = session.request(
      { ':method': call.method, ':path': call.path, ':authority': `${call.host}:${call.port}`, ...headersOf(call) },
      { signal: AbortSignal.timeout(call.timeoutMs) },
    );
    const pieces: Buffer[] = [];
    let status = 0;
    let fields = new Fields();
    let trailers: Fields | undefined;
    const read = (headers: NodeJS.Dict<string | string[] | number>): Fields => {
      const into = new Fields();
      for (const [name, value] of Object.entries(headers)) {
        if (name.startsWith(':') || value === undefined) continue;
        for (const one of Array.isArray(value) ? value : [String(value)]) into.append(name, one);
      }
      return into;
    };
    stream.on('response', (headers) => {
      status = headers[':status'] ?? 0;
      fields = read(headers);
    });
    stream.on('trailers', (headers) => {
      trailers = read(headers);
    });
    stream.on('data', (piece: Buffer) => pieces.push(piece));
    stream.on('error', (error) => {
      session.destroy();
      reject(error);
    });
    stream.on('end', () => {
      session.close();
      resolve({ status, fields, trailers, body: Buffer.concat(pieces) });
    });
    stream.end(call.body);
  });
}
