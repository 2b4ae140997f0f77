// All messages by their code. A code is never used again for something else.

import { AMBIENT_CODES } from './ambient-codes.ts';
import { ISTIO_CODES } from './istio-codes.ts';

export type Level = 'Info' | 'Warning' | 'Error';

/** One kind of message. The parameters of `say` are Istio's, in its order, where the code is Istio's. */
export interface Definition<P extends readonly string[] = readonly string[]> {
  readonly name: string;
  readonly level: Level;
  say(...parameters: P): string;
  /** What to do. */
  readonly fix: string;
}

export const CODES = { ...ISTIO_CODES, ...AMBIENT_CODES };

export type Code = keyof typeof CODES;
export type ParametersOf<C extends Code> = Parameters<(typeof CODES)[C]['say']>;
