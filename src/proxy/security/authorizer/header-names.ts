// Which headers go between client, authorizer and upstream: lists of names by exact text, prefix or suffix, whatever case.

import type { TextPredicate } from '../../../model/facts.ts';
import { compileAnyText, type TextTest } from '../../../model/http/text.ts';

/** @returns a test of names in lower case */
export const headerNames = (predicates: readonly TextPredicate[]): TextTest =>
  predicates.length === 0
    ? () => false
    : compileAnyText(
        predicates.map((predicate) =>
          predicate.kind === 'exact' || predicate.kind === 'prefix' || predicate.kind === 'suffix'
            ? { ...predicate, value: predicate.value.toLowerCase() }
            : predicate,
        ),
      );

const FRAMING = new Set([
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Headers that frame a message or say where it goes: nobody but the proxy itself writes them. */
export const isFraming = (name: string): boolean => FRAMING.has(name) || name.startsWith(':');
