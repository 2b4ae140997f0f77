// Objects and lists on the wire, in the form that the client asked for. Objects of the stored version are sent as the
// text that the store has of them.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { apiVersionOf } from '../../client/resources.ts';
import type { KubeObject } from '../../client/types.ts';
import { statusOf } from '../errors.ts';
import { inVersion, type ServedKind } from '../kinds/kind.ts';
import type { ListResult } from '../rest/read.ts';
import type { Stored } from '../store/store.ts';
import { type IncludeObject, metadataOnly, tableOf } from '../table/table.ts';
import { type AnswerForm, answerForm } from './accept.ts';

export interface AnswerOptions {
  readonly form: AnswerForm;
  readonly include: IncludeObject;
  readonly nowMs: number;
}

export function answerOptions(request: IncomingMessage, query: URLSearchParams, now: Date): AnswerOptions {
  const include = query.get('includeObject');
  return {
    form: answerForm(request.headers.accept),
    include: include === 'None' || include === 'Object' ? include : 'Metadata',
    nowMs: now.getTime(),
  };
}

export function sendJson(response: ServerResponse, code: number, body: unknown): void {
  sendText(response, code, JSON.stringify(body));
}

export function sendText(response: ServerResponse, code: number, text: string, type = 'application/json'): void {
  const bytes = Buffer.from(text);
  response.writeHead(code, {
    'content-type': type,
    'content-length': bytes.length,
    'cache-control': 'no-cache, private',
  });
  response.end(bytes);
}

export function sendError(response: ServerResponse, error: unknown): void {
  const status = statusOf(error);
  if (status.code === 401) response.setHeader('www-authenticate', 'Bearer');
  const retry = status.details?.retryAfterSeconds;
  if (retry !== undefined) response.setHeader('retry-after', retry);
  sendJson(response, status.code, status);
}

export function sendObject(
  response: ServerResponse,
  code: number,
  served: ServedKind,
  object: KubeObject,
  options: AnswerOptions,
): void {
  sendJson(response, code, formOf(served, object, options, true));
}

/** One object in the form asked for. @param withColumns  whether a Table repeats its columns */
export function formOf(served: ServedKind, object: KubeObject, options: AnswerOptions, withColumns: boolean): unknown {
  switch (options.form) {
    case 'table': {
      const { resourceVersion } = object.metadata ?? {};
      return tableOf(served, [object], { resourceVersion }, { ...options, withColumns });
    }
    case 'metadata':
      return metadataOnly(object);
    default:
      return inVersion(served.kind, served.version, object);
  }
}

/** The object's JSON text in a served version. */
export function jsonOf({ kind, version }: ServedKind, stored: Stored): string {
  return version === kind.storageVersion ? stored.json : JSON.stringify(inVersion(kind, version, stored.object));
}

export function sendList(
  response: ServerResponse,
  served: ServedKind,
  result: ListResult,
  options: AnswerOptions,
): void {
  const { kind, version } = served;
  const metadata = {
    resourceVersion: result.resourceVersion,
    ...(result.continue === undefined ? {} : { continue: result.continue }),
    ...(result.remaining === undefined ? {} : { remainingItemCount: result.remaining }),
  };
  if (options.form === 'table') {
    const objects = result.items.map(({ object }) => object);
    sendJson(response, 200, tableOf(served, objects, metadata, { ...options, withColumns: true }));
  } else if (options.form === 'metadata') {
    const items = result.items.map(({ object }) => metadataOnly(object));
    sendJson(response, 200, { kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata, items });
  } else {
    const apiVersion = apiVersionOf({ group: kind.group, version });
    const head = JSON.stringify({ kind: `${kind.kind}List`, apiVersion, metadata });
    const items = result.items.map((stored) => jsonOf(served, stored)).join(',');
    sendText(response, 200, `${head.slice(0, -1)},"items":[${items}]}`);
  }
}
