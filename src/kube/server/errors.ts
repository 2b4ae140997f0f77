// Refusals as an API server words them: metav1.Status with code, reason, message and causes, as KubeError inside.

import { KubeError } from '../client/types.ts';
import { DatabaseError } from './store/database.ts';
import { TooOldError } from './store/store.ts';

/** One invalid field. The texts are those that kubectl's users know. */
export interface FieldFault {
  readonly type: 'required' | 'invalid' | 'duplicate' | 'unsupported' | 'forbidden' | 'tooLong' | 'notFound' | 'type';
  readonly path: string;
  readonly value?: unknown;
  readonly detail?: string;
}

export const required = (path: string, detail = ''): FieldFault => ({ type: 'required', path, detail });
export const invalidField = (path: string, value: unknown, detail: string): FieldFault => ({
  type: 'invalid',
  path,
  value,
  detail,
});
export const duplicate = (path: string, value: unknown): FieldFault => ({ type: 'duplicate', path, value });
export const forbiddenField = (path: string, detail: string): FieldFault => ({ type: 'forbidden', path, detail });
export const unsupported = (path: string, value: unknown, supported: readonly string[]): FieldFault => ({
  type: 'unsupported',
  path,
  value,
  detail: `supported values: ${supported.map((one) => JSON.stringify(one)).join(', ')}`,
});
export const immutable = (path: string, value: unknown): FieldFault => invalidField(path, value, 'field is immutable');

/** metav1.Status */
export interface Status {
  kind: 'Status';
  apiVersion: 'v1';
  metadata: Record<string, never>;
  status: 'Success' | 'Failure';
  message?: string;
  reason?: string;
  details?: StatusDetails;
  code?: number;
}

export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: { reason: string; message: string; field: string }[];
  retryAfterSeconds?: number;
}

/** What an error is about: `{ group: 'apps', plural: 'deployments' }`. */
interface About {
  readonly group: string;
  readonly plural: string;
}

const qualified = ({ group, plural }: About): string => (group === '' ? plural : `${plural}.${group}`);
const detailsOf = ({ group, plural }: About, name: string): StatusDetails => ({
  name,
  ...(group === '' ? {} : { group }),
  kind: plural,
});

export function notFound(about: About, name: string): KubeError {
  return new KubeError(404, 'NotFound', `${qualified(about)} "${name}" not found`, detailsOf(about, name));
}

export function noSuchPath(): KubeError {
  return new KubeError(404, 'NotFound', 'the server could not find the requested resource', {});
}

export function alreadyExists(about: About, name: string): KubeError {
  return new KubeError(409, 'AlreadyExists', `${qualified(about)} "${name}" already exists`, detailsOf(about, name));
}

export function conflict(about: About, name: string, why: string): KubeError {
  const message = `Operation cannot be fulfilled on ${qualified(about)} "${name}": ${why}`;
  return new KubeError(409, 'Conflict', message, detailsOf(about, name));
}

export const MODIFIED = 'the object has been modified; please apply your changes to the latest version and try again';

export function badRequest(message: string): KubeError {
  return new KubeError(400, 'BadRequest', message, {});
}

export function forbidden(about: About, name: string, why: string): KubeError {
  const subject = name === '' ? qualified(about) : `${qualified(about)} "${name}"`;
  return new KubeError(403, 'Forbidden', `${subject} is forbidden: ${why}`, detailsOf(about, name));
}

export function unauthorized(): KubeError {
  return new KubeError(401, 'Unauthorized', 'Unauthorized', {});
}

export function methodNotAllowed(about: About, verb: string): KubeError {
  const message = `the server does not allow this method on the requested resource`;
  return new KubeError(405, 'MethodNotAllowed', `${message} (${verb} ${qualified(about)})`, detailsOf(about, ''));
}

export function expired(message: string): KubeError {
  return new KubeError(410, 'Expired', message, {});
}

/** 422 with one cause a fault. */
export function invalid(
  about: { group: string; kind: string },
  name: string,
  faults: readonly FieldFault[],
): KubeError {
  const kind = about.group === '' ? about.kind : `${about.kind}.${about.group}`;
  const texts = [...new Set(faults.map((fault) => `${fault.path}: ${faultText(fault)}`))];
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  return new KubeError(422, 'Invalid', `${kind} "${name}" is invalid: ${list}`, {
    name,
    ...(about.group === '' ? {} : { group: about.group }),
    kind: about.kind,
    causes: faults.map((fault) => ({
      reason: FAULTS[fault.type].reason,
      message: faultText(fault),
      field: fault.path,
    })),
  });
}

const FAULTS: Record<FieldFault['type'], { reason: string; text: string }> = {
  required: { reason: 'FieldValueRequired', text: 'Required value' },
  invalid: { reason: 'FieldValueInvalid', text: 'Invalid value' },
  duplicate: { reason: 'FieldValueDuplicate', text: 'Duplicate value' },
  unsupported: { reason: 'FieldValueNotSupported', text: 'Unsupported value' },
  forbidden: { reason: 'FieldValueForbidden', text: 'Forbidden' },
  tooLong: { reason: 'FieldValueTooLong', text: 'Too long' },
  notFound: { reason: 'FieldValueNotFound', text: 'Not found' },
  type: { reason: 'FieldValueTypeInvalid', text: 'Invalid value' },
};

const MAX_SHOWN_CHARS = 200;

function faultText({ type, value, detail = '' }: FieldFault): string {
  const shown = value === undefined ? '' : `: ${shorten(JSON.stringify(value) ?? '')}`;
  return `${FAULTS[type].text}${shown}${detail === '' ? '' : `: ${detail}`}`;
}

function shorten(text: string): string {
  return text.length > MAX_SHOWN_CHARS ? `${text.slice(0, MAX_SHOWN_CHARS)}…` : text;
}

export function success(details?: StatusDetails): Status {
  const base = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' } as const;
  return details === undefined ? base : { ...base, details };
}

/** Any error as the Status that is sent; what is not ours to explain becomes 500 without its inner text. */
export function statusOf(error: unknown): Status & { code: number } {
  const known = asKubeError(error);
  const details = known.details as StatusDetails | undefined;
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: known.message,
    reason: known.reason,
    ...(details === undefined || Object.keys(details).length === 0 ? {} : { details }),
    code: known.code,
  };
}

export function asKubeError(error: unknown): KubeError {
  if (error instanceof KubeError) return error;
  if (error instanceof TooOldError) return expired(error.message);
  if (error instanceof DatabaseError)
    return new KubeError(
      error.full ? 507 : 500,
      error.full ? 'InsufficientStorage' : 'InternalError',
      error.message,
      {},
    );
  return new KubeError(500, 'InternalError', 'the API server met an error of its own; its log has the details', {});
}
