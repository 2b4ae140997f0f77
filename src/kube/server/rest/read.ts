// get, list and watch: what is there, what of it is asked for, page by page, and what changes.

import {
  type FieldRequirement,
  type LabelSelector,
  matchesFields,
  matchesLabels,
  parseFieldSelector,
  parseLabelSelector,
} from '../../client/selectors.ts';
import { KubeError } from '../../client/types.ts';
import { badRequest, expired, notFound } from '../errors.ts';
import { collectionOf, type Kind } from '../kinds/kind.ts';
import { isRecord } from '../schema/check.ts';
import type { Stored, StoreEvent } from '../store/store.ts';
import type { RestContext, Target } from './request.ts';

export interface ListParams {
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly limit?: number | undefined;
  readonly continue?: string | undefined;
  /** Not older than this; everything here is always the newest. */
  readonly resourceVersion?: string | undefined;
  readonly resourceVersionMatch?: string | undefined;
}

export interface ListResult {
  readonly items: readonly Stored[];
  readonly resourceVersion: string;
  readonly continue?: string | undefined;
  readonly remaining?: number | undefined;
}

export function getStored({ store }: RestContext, target: Target): Stored {
  const stored = store.get(collectionOf(target.kind), target.namespace ?? '', target.name ?? '');
  if (stored === undefined) throw notFound(target.kind, target.name ?? '');
  return stored;
}

/** Whether an object is one of those asked for. */
export interface Selection {
  readonly labels: LabelSelector;
  readonly fields: readonly FieldRequirement[];
  readonly namespace: string | undefined;
}

/** @throws KubeError 400 for selectors that cannot be read or name a field that has no index */
export function selectionOf(target: Target, params: Pick<ListParams, 'labelSelector' | 'fieldSelector'>): Selection {
  const fields = parseFieldSelector(params.fieldSelector ?? '');
  for (const { field } of fields)
    if (!isSelectable(target.kind, field)) throw badRequest(`field label not supported: ${field}`);
  const named: FieldRequirement[] =
    target.name === undefined ? [] : [{ field: 'metadata.name', operator: 'equals', value: target.name }];
  return {
    labels: parseLabelSelector(params.labelSelector ?? ''),
    fields: [...fields, ...named],
    namespace: target.namespace,
  };
}

function isSelectable(kind: Kind, field: string): boolean {
  return (
    field === 'metadata.name' ||
    (field === 'metadata.namespace' && kind.namespaced) ||
    kind.selectableFields.includes(field)
  );
}

export function selects({ labels, fields, namespace }: Selection, { object }: Stored): boolean {
  if (namespace !== undefined && object.metadata?.namespace !== namespace) return false;
  return matchesLabels(labels, object.metadata?.labels) && (fields.length === 0 || matchesFields(fields, object));
}

export function list({ store }: RestContext, target: Target, params: ListParams): ListResult {
  const collection = collectionOf(target.kind);
  const wanted = Number(params.resourceVersion ?? 0);
  if (!(wanted >= 0)) throw badRequest(`resourceVersion: Invalid value: "${params.resourceVersion}"`);
  if (wanted > store.resourceVersion) throw tooLarge(wanted, store.resourceVersion);
  if (params.resourceVersionMatch === 'Exact' && wanted !== store.resourceVersion && !params.continue)
    throw expired(`the state at resource version ${wanted} is not kept; list without \`resourceVersionMatch=Exact\``);
  const page = params.continue ? readToken(params.continue) : undefined;
  if (page !== undefined && !store.remembers(collection, page.resourceVersion))
    throw expired(
      'The provided continue parameter is too old to display a consistent list result; start the list again',
    );
  const resourceVersion = String(page?.resourceVersion ?? store.resourceVersion);
  const selection = selectionOf(target, params);
  const all = store.list(collection, target.namespace);
  const from = page === undefined ? all : all.filter(({ key }) => key > page.after);
  const everything = selection.labels.length === 0 && selection.fields.length === 0;
  const items = everything ? from : from.filter((stored) => selects(selection, stored));
  const limit = params.limit ?? 0;
  if (limit <= 0 || items.length <= limit) return { items, resourceVersion };
  const shown = items.slice(0, limit);
  return {
    items: shown,
    resourceVersion,
    continue: writeToken({ resourceVersion: Number(resourceVersion), after: shown.at(-1)?.key ?? '' }),
    remaining: everything ? items.length - limit : undefined,
  };
}

function tooLarge(wanted: number, current: number): KubeError {
  return new KubeError(504, 'Timeout', `Too large resource version: ${wanted}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version', field: '' }],
    retryAfterSeconds: 1,
  });
}

interface Page {
  /** Of the first page: a watch from there is told whatever changed between the pages. */
  readonly resourceVersion: number;
  /** Key of the last object shown. */
  readonly after: string;
}

function writeToken(page: Page): string {
  return Buffer.from(JSON.stringify(page)).toString('base64url');
}

function readToken(token: string): Page {
  try {
    const page: unknown = JSON.parse(Buffer.from(token, 'base64url').toString());
    if (isRecord(page) && Number.isSafeInteger(page.resourceVersion) && typeof page.after === 'string')
      return page as unknown as Page;
  } catch {
    // falls through to the refusal
  }
  throw badRequest('continue key is not valid: it must be the one that the last page gave');
}

export interface WatchParams extends ListParams {
  readonly sendInitialEvents?: boolean | undefined;
}

export interface WatchSink {
  event(type: 'ADDED' | 'MODIFIED' | 'DELETED', stored: Stored): void;
  /** Everything up to here was told. `initial`: what was there at the start is complete. */
  bookmark(resourceVersion: number, initial: boolean): void;
}

/**
 * Tells a sink what is there (when no resourceVersion is named) and then what changes, in order.
 * @returns ends it
 * @throws KubeError 400, TooOldError when changes since then are forgotten
 */
export function watch({ store }: RestContext, target: Target, params: WatchParams, sink: WatchSink): () => void {
  const collection = collectionOf(target.kind);
  const selection = selectionOf(target, params);
  const { resourceVersion: text } = params;
  const asked = Number(text || 0);
  if (!Number.isSafeInteger(asked) || asked < 0) throw badRequest(`resourceVersion: Invalid value: "${text}"`);
  if (params.sendInitialEvents !== undefined && params.resourceVersionMatch !== 'NotOlderThan')
    throw badRequest('sendInitialEvents needs resourceVersionMatch=NotOlderThan');
  if (asked > store.resourceVersion) throw tooLarge(asked, store.resourceVersion);
  const listener = (event: StoreEvent) => tell(selection, event, sink);
  const fromState = params.sendInitialEvents ?? asked === 0;
  if (!fromState) return store.watch(collection, asked === 0 ? store.resourceVersion : asked, listener);
  for (const stored of store.list(collection, target.namespace))
    if (selects(selection, stored)) sink.event('ADDED', stored);
  if (params.sendInitialEvents === true) sink.bookmark(store.resourceVersion, true);
  return store.watch(collection, store.resourceVersion, listener);
}

/** To a watcher an object that leaves its selection is deleted, one that enters it is new. */
function tell(selection: Selection, { before, now, last }: StoreEvent, sink: WatchSink): void {
  const was = before !== undefined && selects(selection, before);
  const is = now !== undefined && selects(selection, now);
  if (is) sink.event(was ? 'MODIFIED' : 'ADDED', now);
  else if (was) sink.event('DELETED', last);
}
