// Joins the derivation and the fetcher: what RequestAuthentications name is fetched, what comes back is an input again.

import type { Ambient } from '../../derive/ambient.ts';
import type { Cidr } from '../../model/ip.ts';
import type { Clock } from '../../platform/clock.ts';
import { fetchJson } from './guarded-fetch.ts';
import { KeyFetcher } from './key-fetcher.ts';
import { wantedKeys } from './wanted.ts';

/** Key sets are a few kilobytes; a large issuer's a hundred. */
const MAX_BYTES = 1 << 20;

/**
 * @param refreshMs  between two fetches that went well
 * @param refused    ranges that are not dialled, beside those that never are
 */
export function followTokenKeys(
  ambient: Ambient,
  clock: Clock,
  refreshMs: number,
  refused: readonly Cidr[],
): KeyFetcher {
  const { inputs, proxies } = ambient;
  const fetcher = new KeyFetcher({
    clock,
    refreshMs,
    fetch: (url, timeoutMs, signal) => fetchJson(url, { timeoutMs, maxBytes: MAX_BYTES, refused }, signal),
    publish: (name, keys) => {
      if (keys === undefined) inputs.tokenKeys.delete(name);
      else inputs.tokenKeys.set(name, keys);
    },
  });
  const look = (): void => fetcher.want(wantedKeys(inputs.sources.requestauthentications.values()));
  // Within a flush nothing may be set; what changed is looked at after it.
  proxies.keySources.subscribe(() => setImmediate(look));
  look();
  return fetcher;
}
