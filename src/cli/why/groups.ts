// Answers for several endpoints, told once where they differ only in the endpoint.

import type { WhyAnswer } from '../../model/why.ts';

export interface Group {
  readonly answer: WhyAnswer;
  /** Answers of endpoints for which the same holds. */
  readonly others: readonly WhyAnswer[];
}

/** In the order of the first of each. */
export function grouped(answers: readonly WhyAnswer[]): readonly Group[] {
  const groups = new Map<string, { answer: WhyAnswer; others: WhyAnswer[] }>();
  for (const answer of answers) {
    const { path, authorization } = answer;
    const key = JSON.stringify([
      answer.outcome,
      path.kind,
      path.kind === 'refused' ? path.why : path.kind === 'hbone' ? [path.via, path.expect] : '',
      authorization?.because,
      authorization?.reason,
    ]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { answer, others: [] });
    else group.others.push(answer);
  }
  return [...groups.values()];
}
