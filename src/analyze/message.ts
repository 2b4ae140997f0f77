// What an analysis says: a code with its parameters, about one field of one object.

import { CODES, type Code, type Level, type ParametersOf } from './codes.ts';
import { type Field, formatPath } from './field.ts';
import type { Resource } from './resource.ts';

export interface Message {
  readonly code: Code;
  readonly name: string;
  readonly level: Level;
  readonly text: string;
  /** What to do about it. */
  readonly fix: string;
  readonly resource: Resource;
  /** `spec.http[0].route[0].destination.host`; empty for the object as a whole. */
  readonly field: string;
  /** Of the field, where the object came from a file. */
  readonly line: number | undefined;
}

/** How analyzers speak. `field` is one of the resource's own. */
export type Report = <C extends Code>(
  code: C,
  resource: Resource,
  field: Field,
  ...parameters: ParametersOf<C>
) => void;

export function toMessage<C extends Code>(
  code: C,
  resource: Resource,
  field: Field,
  parameters: ParametersOf<C>,
): Message {
  const { name, level, say, fix } = CODES[code];
  return {
    code,
    name,
    level,
    text: (say as (...given: readonly string[]) => string)(...parameters),
    fix,
    resource,
    field: formatPath(field.path),
    line: resource.positions?.lineOf(field.path),
  };
}

/** `VirtualService shop/web` */
export const nameOf = (resource: Resource): string => `${resource.kind} ${resource.key}`;

const RANK: Readonly<Record<Level, number>> = { Info: 0, Warning: 1, Error: 2 };

/** Whether a level is the threshold or worse. */
export const reaches = (level: Level, threshold: Level): boolean => RANK[level] >= RANK[threshold];

/** Worst first; then by object, line and code, so that two runs say the same. */
export function inOrder(messages: readonly Message[]): Message[] {
  const key = ({ resource, line = 0, code, field, text }: Message): string =>
    [
      resource.positions?.file ?? '',
      resource.type,
      resource.key,
      String(line).padStart(8, '0'),
      code,
      field,
      text,
    ].join('\n');
  return messages
    .map((message) => ({ message, key: key(message) }))
    .sort((a, b) => RANK[b.message.level] - RANK[a.message.level] || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ message }) => message);
}
