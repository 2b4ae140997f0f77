// One analyzer: what it looks for, over the whole set of objects.

import type { Code } from './codes.ts';
import type { Report } from './message.ts';
import type { World } from './world.ts';

export interface Analyzer {
  /** As `--analyzer` and `-L` name it; istioctl's name where it has one. */
  readonly name: string;
  /** What it finds, in a few words, for `-L`. */
  readonly description: string;
  /** Everything it may report. */
  readonly codes: readonly Code[];
  analyze(world: World, report: Report): void;
}
