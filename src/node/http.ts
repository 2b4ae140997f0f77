// The agent's small HTTP endpoints: a handler answers with status and text, everything around it is bounded here.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
}

export interface Question {
  readonly method: string;
  readonly path: string;
  readonly accept: string | undefined;
  readonly body: string;
}

/** Istio's plugin sends a few hundred bytes. */
const MAX_BODY_BYTES = 64 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 100;

/** A server that is not listening yet. A handler that throws is answered 500 with the error's message. */
export function httpServer(handle: (question: Question) => Answer | Promise<Answer>): Server {
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      void serve(request, response, handle);
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  handle: (question: Question) => Answer | Promise<Answer>,
): Promise<void> {
  let answer: Answer;
  try {
    const body = await readBody(request);
    if (body === undefined) answer = { status: 413, body: `more than ${MAX_BODY_BYTES} bytes` };
    else {
      const { method = '', url = '', headers } = request;
      answer = await handle({ method, path: url.split('?', 1)[0] as string, accept: headers.accept, body });
    }
  } catch (error) {
    answer = { status: 500, body: error instanceof Error ? error.message : String(error) };
  }
  if (response.destroyed) return;
  const headers = {
    'content-type': answer.type ?? 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(answer.body),
  };
  response.writeHead(answer.status, answer.status === 413 ? { ...headers, connection: 'close' } : headers);
  response.end(answer.body);
}

/** Undefined when it is too long. @throws when the client goes away */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    size += (part as Buffer).length;
    if (size > MAX_BODY_BYTES) return undefined;
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts).toString('utf8');
}

export function listen(server: Server, at: { readonly port: number } | { readonly path: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(at, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
