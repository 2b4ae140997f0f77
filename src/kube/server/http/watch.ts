// A watch as a stream of lines. Events of one turn of the event loop leave in one write; a client that does not read is
// cut off at a bound, for it can list again.

import type { ServerResponse } from 'node:http';
import { apiVersionOf } from '../../client/resources.ts';
import { asKubeError, statusOf } from '../errors.ts';
import type { ServedKind } from '../kinds/kind.ts';
import { type WatchParams, type WatchSink, watch } from '../rest/read.ts';
import type { RestContext, Target } from '../rest/request.ts';
import type { Stored } from '../store/store.ts';
import { type AnswerOptions, formOf, jsonOf } from './answer.ts';

const MAX_PENDING_BYTES = 32 * 1024 * 1024;
const BOOKMARK_MS = 30_000;
/** Watches end by themselves, so that clients spread out anew and dead ones go. */
const DEFAULT_SECONDS = 1800;
const MAX_SECONDS = 24 * 3600;

export interface WatchOptions {
  readonly bookmarks: boolean;
  readonly timeoutSeconds: number | undefined;
}

/** Serves a watch until the client, the time or the server ends it. @throws KubeError before anything was sent */
export function serveWatch(
  context: RestContext,
  target: Target,
  params: WatchParams,
  options: WatchOptions,
  answer: AnswerOptions,
  response: ServerResponse,
): void {
  const stream = new EventStream(target, options.bookmarks, answer, response);
  const stop = watch(context, target, params, stream);
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
  response.flushHeaders();
  const bookmark = setInterval(() => stream.bookmark(context.store.resourceVersion, false), BOOKMARK_MS);
  const seconds = Math.min(options.timeoutSeconds || DEFAULT_SECONDS, MAX_SECONDS);
  const timeout = setTimeout(() => {
    stream.bookmark(context.store.resourceVersion, false);
    stream.end();
  }, seconds * 1000);
  response.on('close', () => {
    stop();
    clearInterval(bookmark);
    clearTimeout(timeout);
  });
}

class EventStream implements WatchSink {
  readonly #served: ServedKind;
  readonly #bookmarks: boolean;
  readonly #answer: AnswerOptions;
  readonly #response: ServerResponse;
  /** Lines of this turn, not yet written. */
  #pending = '';
  #scheduled = false;
  #columnsSent = false;

  constructor(served: ServedKind, bookmarks: boolean, answer: AnswerOptions, response: ServerResponse) {
    this.#served = served;
    this.#bookmarks = bookmarks;
    this.#answer = answer;
    this.#response = response;
  }

  event(type: 'ADDED' | 'MODIFIED' | 'DELETED', stored: Stored): void {
    if (this.#answer.form === 'object') {
      this.#line(`{"type":"${type}","object":${jsonOf(this.#served, stored)}}\n`);
      return;
    }
    const options = { ...this.#answer, nowMs: Date.now() };
    const object = formOf(this.#served, stored.object, options, !this.#columnsSent);
    this.#columnsSent = true;
    this.#line(`${JSON.stringify({ type, object })}\n`);
  }

  bookmark(resourceVersion: number, initial: boolean): void {
    if (!this.#bookmarks) return;
    const { kind, version } = this.#served;
    const metadata = {
      resourceVersion: String(resourceVersion),
      creationTimestamp: null,
      ...(initial ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
    };
    const bare =
      this.#answer.form === 'metadata'
        ? { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata }
        : { kind: kind.kind, apiVersion: apiVersionOf({ group: kind.group, version }), metadata };
    const object =
      this.#answer.form === 'table'
        ? {
            kind: 'Table',
            apiVersion: 'meta.k8s.io/v1',
            metadata,
            columnDefinitions: null,
            rows: [{ cells: [], object: bare }],
          }
        : bare;
    this.#line(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`);
  }

  error(error: unknown): void {
    this.#line(`${JSON.stringify({ type: 'ERROR', object: statusOf(asKubeError(error)) })}\n`);
    this.end();
  }

  end(): void {
    this.#flush();
    this.#response.end();
  }

  #line(text: string): void {
    this.#pending += text;
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    const text = this.#pending;
    this.#pending = '';
    if (text === '' || this.#response.writableEnded || this.#response.destroyed) return;
    this.#response.write(text);
    if (this.#response.writableLength > MAX_PENDING_BYTES) this.#response.destroy();
  }
}
