// The fast form of `authorizeHttp`: policies grouped once, exact texts as sets, fields read without looking at names.
// A property test holds it equal to the definition. Hot path: once a request.

import { anyTest, compileField, everyTest, type RequestTest } from './field-test.ts';
import type { HttpCondition, HttpPolicy, HttpPolicyAction } from './policy.ts';
import { questionsOf } from './policy-match.ts';
import type { HttpRequest } from './request.ts';
import { type CustomStage, groupHttpPolicies, type HttpVerdict, judgeHttp } from './verdict.ts';

export interface HttpAuthorizer {
  /** As `authorizeHttp`. */
  authorize(request: HttpRequest, stage?: CustomStage): HttpVerdict;
}

/** @param policies those that apply at this proxy to one target: one authorizer each */
export function compileHttpPolicies(policies: readonly HttpPolicy[]): HttpAuthorizer {
  const grouped = groupHttpPolicies(policies.map((policy) => ({ policy, rules: compileRules(policy) })));
  return {
    authorize: (request, stage = 'notAsked') =>
      judgeHttp(grouped, stage, ({ rules }) => rules.findIndex((rule) => rule(request))),
  };
}

const compileRules = ({ action: { kind }, anyRule }: HttpPolicy): readonly RequestTest[] =>
  anyRule.map(({ from, to, when }) =>
    everyTest([
      ...(to.length === 0 ? [] : [anyTest(to.map((set) => compileSet(set, kind)))]),
      ...(from.length === 0 ? [] : [anyTest(from.map((set) => compileSet(set, kind)))]),
      ...when.map((condition) => compileCondition(condition, kind)),
    ]),
  );

const compileSet = (set: readonly HttpCondition[], action: HttpPolicyAction['kind']): RequestTest =>
  everyTest(set.map((condition) => compileCondition(condition, action)));

function compileCondition(condition: HttpCondition, action: HttpPolicyAction['kind']): RequestTest {
  const byField = Map.groupBy(questionsOf(condition, action), ({ field }) => field);
  const holds = anyTest(
    [...byField].map(([field, questions]) =>
      compileField(
        field,
        questions.map(({ predicate }) => predicate),
      ),
    ),
  );
  return condition.negated ? (request) => !holds(request) : holds;
}
