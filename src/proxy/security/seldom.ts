// A warning that would come with each request is written once a minute, with how many there were.

const EVERY_MS = 60_000;
const MOST_SUBJECTS = 1000;

export class Seldom {
  readonly #nowMs: () => number;
  readonly #subjects = new Map<string, { saidAtMs: number; unsaid: number }>();

  /** @param nowMs  a steady clock */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** @param say  is given how many of this subject were not said since the last time */
  warn(subject: string, say: (unsaid: number) => void): void {
    const now = this.#nowMs();
    const known = this.#subjects.get(subject);
    if (known !== undefined && now - known.saidAtMs < EVERY_MS) {
      known.unsaid++;
      return;
    }
    if (this.#subjects.size >= MOST_SUBJECTS) this.#subjects.clear();
    this.#subjects.set(subject, { saidAtMs: now, unsaid: 0 });
    say(known?.unsaid ?? 0);
  }
}
