// The fast form of `authorize`: policies of a workload are collected and sorted once, predicates become closures over a
// connection whose texts and address bits are prepared once. A property test holds it equal to the definition.
// Hot path: once a connection and once a live connection at each policy change.

import { selectPolicies } from './authorize.ts';
import type { Connection } from './connection.ts';
import type { Predicate } from './facts.ts';
import { principalOf } from './identity.ts';
import { type Cidr, type Ip, ipBytes } from './ip.ts';
import type { Policy, PolicyMatch } from './policy.ts';
import { isEmptyMatch } from './policy-match.ts';
import { type ApplicablePolicies, groupPolicies, judge, type Verdict } from './verdict.ts';
import type { Workload } from './workload.ts';
import type { World } from './world.ts';

export interface Authorizer {
  /** Judges by the policies that the world holds at this moment. */
  authorize(destination: Workload, connection: Connection): Verdict;
}

interface Compiled {
  readonly policy: Policy;
  readonly matches: Test;
}

type Test = (subject: Subject) => boolean;

/** Compiles lazily and keeps what it compiled as long as the policy object lives. */
export function compilePolicies(world: World): Authorizer {
  const compiled = new WeakMap<Policy, Compiled>();
  let applicable = new WeakMap<Workload, ApplicablePolicies<Compiled>>();
  let revision = world.policyRevision;

  const compile = (policy: Policy): Compiled => {
    let found = compiled.get(policy);
    if (found === undefined) {
      found = { policy, matches: compilePolicy(policy) };
      compiled.set(policy, found);
    }
    return found;
  };
  return {
    authorize(destination, connection) {
      if (revision !== world.policyRevision) {
        revision = world.policyRevision;
        applicable = new WeakMap();
      }
      let policies = applicable.get(destination);
      if (policies === undefined) {
        policies = groupPolicies(selectPolicies(world, destination).policies.map(compile));
        applicable.set(destination, policies);
      }
      const subject = new Subject(connection);
      return judge(policies, destination, (candidate) => candidate.matches(subject));
    },
  };
}

/** A connection with what predicates compare prepared on first use. */
class Subject {
  readonly namespace: string;
  readonly port: number;
  readonly #connection: Connection;
  #principal: string | undefined;
  #serviceAccount: string | undefined;
  #source: readonly number[] | undefined;
  #destination: readonly number[] | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.namespace = connection.identity?.namespace ?? '';
    this.port = connection.destination.port;
  }
  get principal(): string | undefined {
    const { identity } = this.#connection;
    if (identity !== undefined && this.#principal === undefined) this.#principal = principalOf(identity);
    return this.#principal;
  }
  get serviceAccount(): string | undefined {
    const { identity } = this.#connection;
    if (identity !== undefined && this.#serviceAccount === undefined)
      this.#serviceAccount = `${identity.namespace}/${identity.serviceAccount}`;
    return this.#serviceAccount;
  }
  get sourceIp(): Ip {
    return this.#connection.source.ip;
  }
  get destinationIp(): Ip {
    return this.#connection.destination.ip;
  }
  get sourceWords(): readonly number[] {
    this.#source ??= words(this.sourceIp);
    return this.#source;
  }
  get destinationWords(): readonly number[] {
    this.#destination ??= words(this.destinationIp);
    return this.#destination;
  }
}

function compilePolicy(policy: Policy): Test {
  const rules = policy.anyRule.map((rule) =>
    every(
      rule.everyClause.map((clause) =>
        clause.anyMatch.length === 0 ? always : any(clause.anyMatch.map(compileMatch)),
      ),
    ),
  );
  return any(rules);
}

const always: Test = () => true;
const never: Test = () => false;
const not =
  (test: Test): Test =>
  (subject) =>
    !test(subject);

function any(tests: readonly Test[]): Test {
  const [only] = tests;
  if (only === undefined) return never;
  return tests.length === 1 ? only : (subject) => tests.some((test) => test(subject));
}

function every(tests: readonly Test[]): Test {
  const [only] = tests;
  if (only === undefined) return always;
  return tests.length === 1 ? only : (subject) => tests.every((test) => test(subject));
}

function compileMatch(match: PolicyMatch): Test {
  if (isEmptyMatch(match)) return never;
  const tests: Test[] = [];
  const add = (positive: readonly Predicate[], negative: readonly Predicate[], compile: Compiler): void => {
    if (positive.length > 0) tests.push(compile(positive));
    if (negative.length > 0) tests.push(not(compile(negative)));
  };
  add(match.destinationPorts, match.notDestinationPorts, compilePorts);
  add(match.namespaces, match.notNamespaces, compileTexts(namespaceOf));
  add(match.serviceAccounts, match.notServiceAccounts, compileTexts(serviceAccountOf));
  add(match.principals, match.notPrincipals, compileTexts(principalIn));
  add(match.sourceIps, match.notSourceIps, compileRanges(sourceIpOf, sourceWordsOf));
  add(match.destinationIps, match.notDestinationIps, compileRanges(destinationIpOf, destinationWordsOf));
  return every(tests);
}

type Compiler = (list: readonly Predicate[]) => Test;
type Text = (subject: Subject) => string | undefined;
type Words = (subject: Subject) => readonly number[];

const namespaceOf: Text = (subject) => subject.namespace;
const serviceAccountOf: Text = (subject) => subject.serviceAccount;
const principalIn: Text = (subject) => subject.principal;
const sourceIpOf: Text = (subject) => subject.sourceIp;
const destinationIpOf: Text = (subject) => subject.destinationIp;
const sourceWordsOf: Words = (subject) => subject.sourceWords;
const destinationWordsOf: Words = (subject) => subject.destinationWords;

const compilePorts: Compiler = (list) => {
  const ports = new Set(list.flatMap((p) => (p.kind === 'port' ? [p.port] : [])));
  if (list.some((p) => p.kind === 'present')) return always;
  const [only] = ports;
  return ports.size === 1 ? (subject) => subject.port === only : (subject) => ports.has(subject.port);
};

/** Exact texts as one set; the others one by one. Kinds that no text can satisfy are left out. */
const compileTexts =
  (text: Text): Compiler =>
  (list) => {
    const exact = new Set<string>();
    const tests: ((value: string) => boolean)[] = [];
    for (const predicate of list) {
      if (predicate.kind === 'exact') exact.add(predicate.value);
      else if (predicate.kind === 'prefix') tests.push((value) => value.startsWith(predicate.value));
      else if (predicate.kind === 'suffix') tests.push((value) => value.endsWith(predicate.value));
      else if (predicate.kind === 'present') tests.push((value) => value !== '');
    }
    return (subject) => {
      const value = text(subject);
      return value !== undefined && (exact.has(value) || tests.some((test) => test(value)));
    };
  };

const compileRanges =
  (text: Text, words: Words): Compiler =>
  (list) => {
    const ranges = list.flatMap((predicate) => (predicate.kind === 'cidr' ? [compileRange(predicate.range)] : []));
    const rest = list.filter((predicate) => predicate.kind !== 'cidr');
    const inRange: Test = (subject) => {
      const bits = words(subject);
      return ranges.some((contains) => contains(bits));
    };
    return rest.length === 0 ? inRange : any([inRange, compileTexts(text)(rest)]);
  };

/** One 32-bit word for IPv4, four for IPv6. */
export function words(ip: Ip): number[] {
  const bytes = ipBytes(ip);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getInt32(4 * i));
}

export function compileRange(range: Cidr): (bits: readonly number[]) => boolean {
  const base = words(range.ip);
  const masks = base.map((_, i) => {
    const bits = Math.min(32, Math.max(0, range.length - 32 * i));
    return bits === 0 ? 0 : -1 << (32 - bits);
  });
  const wanted = base.map((word, i) => word & (masks[i] as number));
  return (bits) =>
    bits.length === wanted.length && wanted.every((word, i) => ((bits[i] as number) & (masks[i] as number)) === word);
}
