// A place in an object: its path and what stands there. Validators and analyzers walk objects with it, so that whatever
// they say carries the exact field. Total: what is missing or of another type reads as absent.

import { type Json, list, optionalText, record } from '../derive/read.ts';

/** `['spec', 'http', 0, 'match']` */
export type Path = readonly (string | number)[];

const PLAIN_NAME = /^[A-Za-z_][A-Za-z0-9_-]*$/;

/** `spec.http[0].match[1].headers[x-user]` */
export function formatPath(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'string' && PLAIN_NAME.test(step)) text += text === '' ? step : `.${step}`;
    else text += `[${step}]`;
  }
  return text;
}

export class Field {
  readonly path: Path;
  readonly value: unknown;

  constructor(value: unknown, path: Path = []) {
    this.value = value;
    this.path = path;
  }

  at(...steps: Path): Field {
    let value = this.value;
    for (const step of steps)
      value =
        typeof step === 'number'
          ? list(value)[step]
          : Object.hasOwn(record(value), step)
            ? record(value)[step]
            : undefined;
    return new Field(value, [...this.path, ...steps]);
  }

  /** Something is written here; `null` counts as nothing. */
  get isSet(): boolean {
    return this.value !== undefined && this.value !== null;
  }

  get text(): string {
    return optionalText(this.value) ?? '';
  }

  get number(): number | undefined {
    return typeof this.value === 'number' ? this.value : undefined;
  }

  get record(): Json {
    return record(this.value);
  }

  get name(): string {
    return formatPath(this.path);
  }

  /** Items of a list. */
  items(): Field[] {
    return list(this.value).map((item, i) => new Field(item, [...this.path, i]));
  }

  /** Entries of a mapping. */
  entries(): [string, Field][] {
    return Object.entries(this.record).map(([key, value]) => [key, new Field(value, [...this.path, key])]);
  }

  /** Which of these names are set here. */
  among(...names: readonly string[]): string[] {
    return names.filter((name) => this.at(name).isSet);
  }
}
