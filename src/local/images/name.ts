// Image names: `registry/path/name:tag@digest`, written in many ways for one image. Pure.

import { fail, ok, type Result } from '../../model/result.ts';

export interface ImageName {
  readonly registry: string;
  /** `library/nginx`, `ealen/echo-server` */
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

const COMPONENT = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const DIGEST = /^[a-z0-9+._-]+:[0-9a-f]{32,}$/;

/**
 * Parses an image name the way Docker does: the first part is a registry when it has a dot, a colon or is `localhost`.
 * @returns a sentence saying what is wrong otherwise
 */
export function parseImageName(text: string): Result<ImageName, string> {
  const bad = (why: string) => fail(`image name \`${text}\` is not valid: ${why}`);
  if (text === '' || text.length > 512) return bad('it is empty or longer than 512 characters');
  const [withTag = '', digest, ...more] = text.split('@');
  if (more.length > 0 || (digest !== undefined && !DIGEST.test(digest))) return bad('what follows @ is no digest');
  const slash = withTag.lastIndexOf('/');
  const colon = withTag.indexOf(':', slash + 1);
  const path = colon < 0 ? withTag : withTag.slice(0, colon);
  const tag = colon < 0 ? undefined : withTag.slice(colon + 1);
  if (tag !== undefined && !TAG.test(tag)) return bad(`\`${tag}\` is no tag`);
  const parts = path.split('/');
  const [first = ''] = parts;
  const hasRegistry = parts.length > 1 && (/[.:]/.test(first) || first === 'localhost');
  const registry = hasRegistry ? first : 'docker.io';
  const names = hasRegistry ? parts.slice(1) : parts;
  if (!names.every((name) => COMPONENT.test(name))) return bad('a path has only lower-case letters, digits and . _ -');
  if (registry === 'docker.io' && names.length === 1) names.unshift('library');
  return ok({ registry, repository: names.join('/'), tag, digest });
}

/** What kubectl shows: with registry and tag written out. */
export function formatImageName(name: ImageName): string {
  const base = `${name.registry}/${name.repository}`;
  const tagged = name.tag === undefined ? (name.digest === undefined ? `${base}:latest` : base) : `${base}:${name.tag}`;
  return name.digest === undefined ? tagged : `${tagged}@${name.digest}`;
}

/** Whether a user's pattern (tag optional, `*` for any text) means this image. */
export function matchesImage(pattern: string, text: string, name: ImageName): boolean {
  const forms = new Set<string>([text]);
  const short = name.repository.startsWith('library/') ? name.repository.slice('library/'.length) : name.repository;
  for (const base of [
    `${name.registry}/${name.repository}`,
    ...(name.registry === 'docker.io' ? [name.repository, short] : []),
  ]) {
    forms.add(base);
    forms.add(`${base}:${name.tag ?? 'latest'}`);
    if (name.digest !== undefined) forms.add(`${base}@${name.digest}`);
  }
  if (!pattern.includes('*')) return forms.has(pattern);
  const source = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  const expression = new RegExp(`^${source.join('.*')}$`);
  return [...forms].some((form) => expression.test(form));
}
