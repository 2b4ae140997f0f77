// Which key sets the RequestAuthentications of the mesh ask for.

import { keySourceOf } from '../../derive/l7-security/tokens.ts';
import type { RequestAuthentication } from '../../derive/objects/request-authentication.ts';
import { durationMs } from '../../derive/traffic/duration.ts';
import type { WantedKeys } from './key-fetcher.ts';

/** Istio's default for a jwtRule. */
const TIMEOUT_MS = 5_000;
const MAX_TIMEOUT_MS = 60_000;

export const wantedKeys = (all: Iterable<RequestAuthentication>): readonly WantedKeys[] =>
  [...all].flatMap(({ rules }) =>
    rules.flatMap((rule) => {
      const source = keySourceOf(rule);
      const timeoutMs = Math.min(MAX_TIMEOUT_MS, durationMs(rule.timeout) || TIMEOUT_MS);
      return source === undefined ? [] : [{ source, timeoutMs }];
    }),
  );
