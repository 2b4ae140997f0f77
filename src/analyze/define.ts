// How a code is written down.

import type { Definition, Level } from './codes.ts';

/** Keeps the parameters' types, so that a report with one too few does not compile. */
export const define = <P extends readonly string[]>(
  level: Level,
  name: string,
  say: (...parameters: P) => string,
  fix: string,
): Definition<P> => ({ name, level, say, fix });
