// Request bodies: bounded, JSON or YAML.

import type { IncomingMessage } from 'node:http';
import { KubeError, type PatchType } from '../../client/types.ts';
import { badRequest } from '../errors.ts';
import { decodeProtobuf } from './protobuf.ts';

const PROTOBUF = 'application/vnd.kubernetes.protobuf';
const MAX_BODY_BYTES = 3 * 1024 * 1024;

/** @throws KubeError 413 when it is larger than an object may be, 400 when it does not parse, 415 for other formats */
export async function readBody(request: IncomingMessage): Promise<unknown> {
  const bytes = await readBytes(request);
  if (bytes.length === 0) return undefined;
  const type = mediaType(request);
  if (type === PROTOBUF) {
    const object = decodeProtobuf(bytes);
    if (object === undefined) throw unsupported(type, ['application/json', 'application/yaml']);
    return object;
  }
  if (type.endsWith('yaml')) return parseYaml(bytes.toString('utf8'));
  if (type !== '' && !type.endsWith('json') && type !== 'text/plain' && type !== 'application/octet-stream')
    throw unsupported(type, ['application/json', 'application/yaml']);
  return parseJson(bytes.toString('utf8'));
}

async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > MAX_BODY_BYTES)
      throw new KubeError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${MAX_BODY_BYTES}`, {});
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

function parseJson(text: string): unknown {
  // A key of this name would set an object's prototype when it is copied.
  if (text.includes('__proto__')) throw badRequest('`__proto__` cannot be the name of a field');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body of the request is not JSON: ${(error as Error).message}`);
  }
}

async function parseYaml(text: string): Promise<unknown> {
  if (text.trimStart().startsWith('{')) return parseJson(text);
  const { parse } = await import('yaml');
  try {
    return parseJson(JSON.stringify(parse(text, { maxAliasCount: 100 })) ?? 'null');
  } catch (error) {
    if (error instanceof KubeError) throw error;
    throw badRequest(`the body of the request is not YAML: ${(error as Error).message}`);
  }
}

function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
}

const PATCHES: Readonly<Record<string, PatchType>> = {
  'application/json-patch+json': 'json',
  'application/merge-patch+json': 'merge',
  'application/strategic-merge-patch+json': 'strategic',
  'application/apply-patch+yaml': 'apply',
};

/** @throws KubeError 415 */
export function patchType(request: IncomingMessage): PatchType {
  const type = PATCHES[mediaType(request)];
  if (type === undefined) throw unsupported(mediaType(request), Object.keys(PATCHES));
  return type;
}

function unsupported(type: string, accepted: readonly string[]): KubeError {
  return new KubeError(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format (${type}) - accepted media types include: ${accepted.join(', ')}`,
    {},
  );
}
