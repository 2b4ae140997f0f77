// A small registry of counters, gauges and histograms. A child is looked up once and kept by its caller, so counting is
// one addition. Label sets are bounded per family, since peers choose some labels: what is too much goes to one set whose
// labels all say `overflow`. Own code instead of prom-client, which knows neither the layout of `openmetrics.ts` nor bounds.

import { END_OF_METRICS, type FamilyText, familyHeader, histogramSamples, labelText, sample } from './openmetrics.ts';

export interface Counter {
  inc(by?: number): void;
}
export interface Gauge {
  set(value: number): void;
  add(change: number): void;
}
export interface Histogram {
  /** In the unit of the family's name, seconds for `_seconds`. */
  observe(value: number): void;
}

/** A family with labels; `labels` gives the same child for equal values, in the order of the family's label names. */
export interface Labelled<Child> {
  labels(...values: string[]): Child;
}

export interface Collector {
  /** Whole families, each with its header; empty when there is nothing to show. */
  render(): string;
}

export const MAX_LABEL_SETS = 10_000;

class Scalar implements Counter, Gauge {
  value = 0;
  inc(by = 1): void {
    this.value += by;
  }
  set(value: number): void {
    this.value = value;
  }
  add(change: number): void {
    this.value += change;
  }
}

class Buckets implements Histogram {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = Array<number>(bounds.length + 1).fill(0);
  }
  observe(value: number): void {
    let i = 0;
    while (i < this.bounds.length && value > (this.bounds[i] as number)) i++;
    (this.counts[i] as number)++;
    this.sum += value;
  }
}

class Family<Child extends Scalar | Buckets> implements Labelled<Child>, Collector {
  readonly #text: FamilyText;
  readonly #names: readonly string[];
  readonly #make: () => Child;
  readonly #maxSets: number;
  /** label text -> child, in order of first use */
  readonly #children = new Map<string, Child>();

  constructor(text: FamilyText, names: readonly string[], make: () => Child, maxSets: number) {
    this.#text = text;
    this.#names = names;
    this.#make = make;
    this.#maxSets = maxSets;
    if (names.length === 0) this.#children.set('', make());
  }

  labels(...values: string[]): Child {
    let key = labelText(this.#names, values);
    let child = this.#children.get(key);
    if (child !== undefined) return child;
    if (this.#children.size >= this.#maxSets) {
      key = labelText(
        this.#names,
        this.#names.map(() => 'overflow'),
      );
      child = this.#children.get(key);
      if (child !== undefined) return child;
    }
    child = this.#make();
    this.#children.set(key, child);
    return child;
  }

  render(): string {
    if (this.#children.size === 0) return '';
    const { name, type } = this.#text;
    let text = familyHeader(this.#text);
    for (const [labels, child] of this.#children)
      text +=
        child instanceof Buckets
          ? histogramSamples(name, labels, child.bounds, child.counts, child.sum)
          : sample(type === 'counter' ? `${name}_total` : name, labels, child.value);
    return text;
  }
}

/** Families appear in the order in which they were made. */
export class Registry {
  readonly #collectors: Collector[] = [];
  readonly #maxSets: number;

  constructor(maxLabelSets = MAX_LABEL_SETS) {
    this.#maxSets = maxLabelSets;
  }

  #family<Child extends Scalar | Buckets>(
    text: FamilyText,
    names: readonly string[],
    make: () => Child,
  ): Family<Child> {
    const family = new Family(text, names, make, this.#maxSets);
    this.#collectors.push(family);
    return family;
  }

  /** @param name  without `_total`  @param help  a sentence without its full stop */
  counter(name: string, help: string): Counter {
    return this.#family({ name, help, type: 'counter' }, [], () => new Scalar()).labels();
  }
  counters(name: string, help: string, labelNames: readonly string[]): Labelled<Counter> {
    return this.#family({ name, help, type: 'counter' }, labelNames, () => new Scalar());
  }
  gauge(name: string, help: string): Gauge {
    return this.#family({ name, help, type: 'gauge' }, [], () => new Scalar()).labels();
  }
  gauges(name: string, help: string, labelNames: readonly string[]): Labelled<Gauge> {
    return this.#family({ name, help, type: 'gauge' }, labelNames, () => new Scalar());
  }
  /** @param name  with its unit as suffix  @param bounds  upper bounds, rising */
  histograms(
    name: string,
    help: string,
    unit: string,
    labelNames: readonly string[],
    bounds: readonly number[],
  ): Labelled<Histogram> {
    return this.#family({ name, help, type: 'histogram', unit }, labelNames, () => new Buckets(bounds));
  }
  /** Something that renders itself: families that share label sets, or values read at the scrape. */
  collector(collector: Collector): void {
    this.#collectors.push(collector);
  }

  /** The whole exposition, with its end marker. */
  render(): string {
    let text = '';
    for (const collector of this.#collectors) text += collector.render();
    return text + END_OF_METRICS;
  }
}
