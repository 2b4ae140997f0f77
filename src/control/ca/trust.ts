// Which roots the mesh trusts, and how it moves from one authority to the next without a connection lost.
//
// When the authority changes, both roots are trusted for a while (the overlap): certificates of the old authority stay
// good until they are renewed. Peers that do not know the new root yet accept what it issues by a bridge: a certificate
// for the new root's key, signed by the old authority, sent along with every new leaf until the overlap is over.

import { issueBridge } from './authority.ts';
import type { CaBundle } from './bundle.ts';

/** What is kept of earlier authorities. */
export interface Previous {
  /** PEM blocks. */
  readonly roots: readonly string[];
  /** PEM blocks: from the present authority to an earlier root; empty when none could be made. */
  readonly bridge: readonly string[];
  readonly untilMs: number;
}

export interface Trust {
  readonly bundle: CaBundle;
  readonly previous: Previous | undefined;
}

/** PEM of all roots that are trusted now, the authority's own first. */
export const rootBundle = ({ bundle, previous }: Trust): string =>
  [...new Set([...bundle.roots, ...(previous?.roots ?? [])])].join('');

/** PEM blocks that follow a leaf. */
export const issuerChain = ({ bundle, previous }: Trust): readonly string[] => [
  ...new Set([...bundle.chain, ...(previous?.bridge ?? [])]),
];

const sameKey = (a: CaBundle['anchor'], b: CaBundle['anchor']): boolean =>
  Buffer.from(a.publicKey.rawData).equals(Buffer.from(b.publicKey.rawData));

export const sameBundle = (a: CaBundle, b: CaBundle): boolean =>
  Buffer.from(a.certificate.rawData).equals(Buffer.from(b.certificate.rawData)) &&
  sameKey(a.certificate, b.certificate) &&
  a.roots.join('') === b.roots.join('') &&
  a.chain.join('') === b.chain.join('');

/**
 * Goes over to another authority while both are at hand.
 * @param overlapMs  how long the earlier roots stay trusted; at least the life of a workload's certificate
 */
export async function succeed(trust: Trust, next: CaBundle, nowMs: number, overlapMs: number): Promise<Trust> {
  const old = trust.bundle;
  const earlier = trust.previous !== undefined && trust.previous.untilMs > nowMs ? trust.previous : undefined;
  const roots = [...old.roots, ...(earlier?.roots ?? [])].filter((root) => !next.roots.includes(root));
  if (roots.length === 0) return { bundle: next, previous: undefined };
  const bridge = sameKey(old.anchor, next.anchor) ? undefined : await issueBridge(old, next, nowMs);
  const way = bridge === undefined ? [] : [bridge, ...old.chain];
  return {
    bundle: next,
    previous: { roots, bridge: [...way, ...(earlier?.bridge ?? [])], untilMs: nowMs + overlapMs },
  };
}

/** What a control plane remembers over its own restart, as it stands in a Secret. */
export interface TrustRecord {
  /** PEM of the roots of the authority that was in use. */
  readonly active: readonly string[];
  readonly previous: Previous | undefined;
}

export const recordOf = ({ bundle, previous }: Trust): TrustRecord => ({ active: bundle.roots, previous });

/**
 * The trust to start with. If the authority was exchanged while no control plane ran, the earlier roots stay trusted all
 * the same; a bridge cannot be made then, since the earlier key is gone.
 */
export function resume(bundle: CaBundle, record: TrustRecord | undefined, nowMs: number, overlapMs: number): Trust {
  if (record === undefined) return { bundle, previous: undefined };
  const earlier = record.previous !== undefined && record.previous.untilMs > nowMs ? record.previous : undefined;
  const isSame = record.active.join('') === bundle.roots.join('');
  if (isSame) return { bundle, previous: earlier };
  const roots = [...record.active, ...(earlier?.roots ?? [])].filter((root) => !bundle.roots.includes(root));
  return { bundle, previous: roots.length === 0 ? undefined : { roots, bridge: [], untilMs: nowMs + overlapMs } };
}

/** Without what has had its time. */
export const expire = (trust: Trust, nowMs: number): Trust =>
  trust.previous !== undefined && trust.previous.untilMs <= nowMs
    ? { bundle: trust.bundle, previous: undefined }
    : trust;
