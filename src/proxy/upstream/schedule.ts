// Weighted turns: earliest deadline first. Who was served comes again after 1/weight, so over time each is served by
// its weight, and evenly in between. Pure; a pick costs O(log n). The weight is asked for at each turn, so that it may
// change (slow start, requests under way).

interface Entry<T> {
  deadline: number;
  /** Of equal deadlines the earlier one goes first. */
  order: number;
  readonly item: T;
}

export class Schedule<T> {
  private readonly heap: Entry<T>[] = [];
  private readonly weightOf: (item: T) => number;
  private now = 0;
  private count = 0;

  /**
   * @param weightOf  positive
   * @param random    in [0, 1): who begins, so that many proxies do not begin alike
   */
  constructor(items: readonly T[], weightOf: (item: T) => number, random: () => number) {
    this.weightOf = weightOf;
    for (const item of items) this.push({ deadline: random() / weightOf(item), order: this.count++, item });
  }

  /** Whose turn it is; there must be an item. */
  next(): T {
    const first = this.heap[0] as Entry<T>;
    this.now = first.deadline;
    first.deadline = this.now + 1 / this.weightOf(first.item);
    first.order = this.count++;
    this.sink(0);
    return first.item;
  }

  private push(entry: Entry<T>): void {
    const { heap } = this;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(entry, heap[parent] as Entry<T>)) break;
      heap[at] = heap[parent] as Entry<T>;
      at = parent;
    }
    heap[at] = entry;
  }

  private sink(from: number): void {
    const { heap } = this;
    const entry = heap[from] as Entry<T>;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Entry<T>, heap[child] as Entry<T>)) child++;
      if (!isBefore(heap[child] as Entry<T>, entry)) break;
      heap[at] = heap[child] as Entry<T>;
      at = child;
    }
    heap[at] = entry;
  }
}

const isBefore = (a: Entry<unknown>, b: Entry<unknown>): boolean =>
  a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order);
