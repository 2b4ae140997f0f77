// Images as the user names them: `--image NAME=COMMAND` and the `images:` of an `ambit.yaml`. Pure but for nothing:
// paths are made absolute against the folder that the caller gives, no file is looked at.

import { isAbsolute, resolve } from 'node:path';
import { fail, ok, type Result } from '../../model/result.ts';
import type { ImageMapping } from './types.ts';

/** What a POSIX shell would do something with; such a command is given to one. */
const SHELL_SYNTAX = /[|&;<>()$`*?[\]~#\n]/;
const ARCHIVE = /\.(tar|tar\.gz|tgz|oci)$/;

/**
 * Splits a command line into words: blanks separate, single and double quotes and backslashes keep.
 * A line with shell syntax outside quotes becomes `sh -c <line>`.
 */
export function commandWords(line: string): Result<string[], string> {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < line.length; i++) {
    const c = line[i] as string;
    if (quote !== '') {
      if (c === quote) quote = '';
      else if (c === '\\' && quote === '"' && '"\\$`'.includes(line[i + 1] ?? ' ')) word += line[++i] as string;
      else if (quote === '"' && (c === '$' || c === '`')) return ok(['sh', '-c', line]);
      else word += c;
    } else if (c === '"' || c === "'") {
      quote = c;
      word ??= '';
    } else if (c === '\\' && i + 1 < line.length) word = (word ?? '') + (line[++i] as string);
    else if (/\s/.test(c) && c !== '\n') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (SHELL_SYNTAX.test(c)) return ok(['sh', '-c', line]);
    else word = (word ?? '') + c;
  }
  if (quote !== '') return fail(`\`${line}\` has a quote that is not closed`);
  if (word !== undefined) words.push(word);
  return words.length > 0 ? ok(words) : fail('the command is empty');
}

/**
 * `NAME=COMMAND`, or `NAME=FILE.tar` for an archive (`docker save`, or an OCI layout).
 * @param directory absolute; relative paths and the command start there
 */
export function parseImageOption(text: string, directory: string): Result<ImageMapping, string> {
  const equals = text.indexOf('=');
  if (equals < 1) return fail(`\`--image ${text}\` is not NAME=COMMAND`);
  const made = mappingOf(text.slice(0, equals), text.slice(equals + 1), {}, directory);
  return made.ok ? made : fail(`\`--image ${text}\`: ${made.error}`);
}

function mappingOf(
  name: string,
  line: string,
  env: Record<string, string>,
  directory: string,
): Result<ImageMapping, string> {
  if (ARCHIVE.test(line) && !/\s/.test(line))
    return ok({ name, run: { kind: 'archive', file: resolve(directory, line) }, env, workingDir: directory });
  const words = commandWords(line);
  return words.ok
    ? ok({ name, run: { kind: 'command', words: atHome(words.value, directory) }, env, workingDir: directory })
    : words;
}

/** `./server` means the one beside the settings, wherever the container starts it. */
const atHome = (words: readonly string[], directory: string): string[] =>
  words.map((word, i) => (i === 0 && /^\.{1,2}\//.test(word) && !isAbsolute(word) ? resolve(directory, word) : word));

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === 'string';

/**
 * Reads `images:` of a parsed `ambit.yaml`: a name maps to a command line, or to `{command, env, workingDir}` or `{archive}`.
 * @returns every mapping, or every problem found
 */
export function parseImageSettings(value: unknown, directory: string): Result<ImageMapping[], string[]> {
  if (value === undefined || value === null) return ok([]);
  if (!isRecord(value)) return fail(['`images` is not a map of image name to command']);
  const mappings: ImageMapping[] = [];
  const problems: string[] = [];
  for (const [name, entry] of Object.entries(value)) {
    const made = isText(entry) ? mappingOf(name, entry, {}, directory) : entryOf(name, entry, directory);
    if (made.ok) mappings.push(made.value);
    else problems.push(`\`images.${name}\`: ${made.error}`);
  }
  return problems.length > 0 ? fail(problems) : ok(mappings);
}

const FIELDS = ['command', 'archive', 'env', 'workingDir'];

function entryOf(name: string, entry: unknown, directory: string): Result<ImageMapping, string> {
  if (!isRecord(entry)) return fail('is neither a command nor a map');
  const unknown = Object.keys(entry).find((field) => !FIELDS.includes(field));
  if (unknown !== undefined) return fail(`field \`${unknown}\` does not exist; there are ${FIELDS.join(', ')}`);
  const { command, archive, env = {}, workingDir = '.' } = entry;
  if (!isText(workingDir)) return fail('`workingDir` is not a path');
  if (!isRecord(env) || !Object.values(env).every(isText)) return fail('`env` is not a map of text');
  const at = resolve(directory, workingDir);
  const texts = env as Record<string, string>;
  if (isText(archive) && command === undefined)
    return ok({ name, run: { kind: 'archive', file: resolve(directory, archive) }, env: texts, workingDir: at });
  if (isText(command) && archive === undefined) return mappingOf(name, command, texts, at);
  if (Array.isArray(command) && archive === undefined && command.length > 0 && command.every(isText))
    return ok({ name, run: { kind: 'command', words: atHome(command, at) }, env: texts, workingDir: at });
  return fail('needs either `command` (text or list) or `archive` (a file)');
}
