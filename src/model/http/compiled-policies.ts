// The fast form of `authorizeHttp`: policies grouped once, rules found by path, exact texts as sets, fields read without
// looking at names. A property test holds it equal to the definition. Hot path: once a request.

import { anyTest, compileField, everyTest, type RequestTest } from './field-test.ts';
import { compilePathIndex, type IndexedPath, isIndexedPath } from './path-index.ts';
import type { HttpCondition, HttpPolicy, HttpPolicyAction, HttpPolicyRule } from './policy.ts';
import { questionsOf } from './policy-match.ts';
import type { HttpRequest } from './request.ts';
import { type CustomStage, groupHttpPolicies, type HttpVerdict, judgeHttp } from './verdict.ts';

export interface HttpAuthorizer {
  /** As `authorizeHttp`. */
  authorize(request: HttpRequest, stage?: CustomStage): HttpVerdict;
}

/** @param policies those that apply at this proxy to one target: one authorizer each */
export function compileHttpPolicies(policies: readonly HttpPolicy[]): HttpAuthorizer {
  const grouped = groupHttpPolicies(policies.map((policy) => ({ policy, ruleOf: compileRules(policy) })));
  return {
    authorize: (request, stage = 'notAsked') => judgeHttp(grouped, stage, ({ ruleOf }) => ruleOf(request)),
  };
}

const compileRules = ({ action: { kind }, anyRule }: HttpPolicy): ((request: HttpRequest) => number) =>
  compilePathIndex(anyRule.map((rule) => ({ paths: pathsOf(rule), holds: compileRule(rule, kind) })));

/** What the path has to be for the rule to match; undefined where it does not say, or not in a way that is indexed. */
function pathsOf({ to }: HttpPolicyRule): readonly IndexedPath[] | undefined {
  const all: IndexedPath[] = [];
  for (const set of to) {
    const list = set.find((each) => !each.negated && each.anyOf.every(({ field }) => field === 'request.path'));
    if (list === undefined) return undefined;
    for (const { predicate } of list.anyOf) {
      if (!isIndexedPath(predicate)) return undefined;
      all.push(predicate);
    }
  }
  return to.length === 0 ? undefined : all;
}

const compileRule = ({ from, to, when }: HttpPolicyRule, action: HttpPolicyAction['kind']): RequestTest =>
  everyTest([
    ...(to.length === 0 ? [] : [anyTest(to.map((set) => compileSet(set, action)))]),
    ...(from.length === 0 ? [] : [anyTest(from.map((set) => compileSet(set, action)))]),
    ...when.map((condition) => compileCondition(condition, action)),
  ]);

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
