// What the load generator and its server agree on: HTTP/1.1 with answers of one fixed size, so that neither side spends
// time on parsing what is not measured; and bulk, where a first byte asks for as much as the socket takes.

export const HTTP_PORT = 8000;
export const BULK_PORT = 8001;

const BODY = 'x'.repeat(100);

export const REQUEST = Buffer.from('GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n');
export const RESPONSE = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`,
);
export const CLOSING_REQUEST = Buffer.from('GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n');

export interface LoadOptions {
  readonly mode: 'closed' | 'paced' | 'connect' | 'bulk';
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  readonly warmupMs: number;
  readonly durationMs: number;
  /** `paced`: requests a second over all connections. */
  readonly rate?: number;
  /** Of the HTTP generator alone. */
  readonly path?: string;
  readonly headers?: readonly string[];
}

export interface LoadResult {
  /** Requests, connections, or bytes (bulk) finished within the time. */
  readonly done: number;
  readonly seconds: number;
  readonly failed: number;
  /** Milliseconds; absent for bulk. */
  readonly p50?: number;
  readonly p99?: number;
}
