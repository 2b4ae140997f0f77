// A short stable name for a pod template: equal templates, equal hash, whatever the order of keys.

const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789'; // no vowels: a random name is never a word

/** Canonical JSON: keys sorted, undefined left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value)
    .filter(([, v]) => v !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${canonicalJson(v)}`).join(',')}}`;
}

/** FNV-1a, 32 bits, of the canonical JSON, written in Kubernetes' safe alphabet (up to 7 characters). */
export function templateHash(value: unknown): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(canonicalJson(value))) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  let text = '';
  for (let rest = hash; rest > 0; rest = Math.floor(rest / ALPHABET.length)) text += ALPHABET[rest % ALPHABET.length];
  return text || 'b';
}
