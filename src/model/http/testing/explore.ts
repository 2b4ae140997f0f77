// Symbolic runs: a decision is run once for every sequence of answers that it can be given.

import assert from 'node:assert/strict';
import type { RequestFacts, RequestField, RequestPredicate } from '../../facts.ts';

export interface Path<T> {
  readonly result: T;
  readonly asked: readonly {
    readonly field: RequestField;
    readonly predicate: RequestPredicate;
    readonly answer: boolean;
  }[];
}

/** A question asked again is answered alike. Undefined if there would be more than `most` paths. */
export function explore<T>(decide: (facts: RequestFacts) => T, most: number): Path<T>[] | undefined {
  const paths: Path<T>[] = [];
  let answers: boolean[] = [];
  for (;;) {
    const asked: Path<T>['asked'][number][] = [];
    const known = new Map<string, boolean>();
    const result = decide({
      test(field, predicate) {
        const question = `${field} ${JSON.stringify(predicate)}`;
        let answer = known.get(question);
        if (answer === undefined) {
          answer = answers[known.size] ?? true;
          known.set(question, answer);
          asked.push({ field, predicate, answer });
        }
        return answer;
      },
    });
    paths.push({ result, asked });
    if (paths.length > most) return undefined;
    answers = asked.map((question) => question.answer);
    while (answers.at(-1) === false) answers.pop();
    if (answers.length === 0) return paths;
    answers[answers.length - 1] = false;
  }
}

/** The result of the one class that a request with these answers belongs to. */
export function classOf<T>(paths: readonly Path<T>[], facts: RequestFacts): T {
  const taken = paths.filter((path) =>
    path.asked.every(({ field, predicate, answer }) => facts.test(field, predicate) === answer),
  );
  assert.equal(taken.length, 1, 'exactly one class holds the request');
  return (taken[0] as Path<T>).result;
}
