// The Common Expression Language, read into a tree: the part of it that filters and tags of telemetry are written in.
// Own code: the one package that would do (@marcbachmann/cel-js) runs `matches` by backtracking, on what clients send,
// takes 23 ms and 5 MB of each process, and wants its numbers as BigInt. Runs once per configuration.
// Macros over lists (`exists`, `map`, …) and literals of maps are refused: nothing here has lists that need them.

import { fail, ok, type Result } from '../../../model/result.ts';

export type BinaryOperator = '||' | '&&' | '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | '+' | '-' | '*' | '/' | '%';

export type CelNode =
  | { readonly kind: 'literal'; readonly value: string | number | boolean | null }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'member'; readonly of: CelNode; readonly name: string }
  | { readonly kind: 'index'; readonly of: CelNode; readonly key: CelNode }
  | {
      readonly kind: 'call';
      readonly name: string;
      readonly on: CelNode | undefined;
      readonly args: readonly CelNode[];
    }
  | { readonly kind: 'not' | 'minus'; readonly of: CelNode }
  | { readonly kind: 'binary'; readonly operator: BinaryOperator; readonly left: CelNode; readonly right: CelNode }
  | { readonly kind: 'choice'; readonly when: CelNode; readonly then: CelNode; readonly otherwise: CelNode }
  | { readonly kind: 'list'; readonly items: readonly CelNode[] };

const MOST_CHARACTERS = 4096;
const MOST_DEPTH = 50;

const SPACE = /(?:[\s]|\/\/[^\n]*)*/y;
const NUMBER = /(?:0x[0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)u?/y;
const NAME = /[_a-zA-Z][_a-zA-Z0-9]*/y;
const TEXT = /(r?)(?:"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)')/y;
const SYMBOL = /\|\||&&|[=!<>]=|[-+*/%<>!?:.,()[\]]/y;

type Token =
  | { readonly kind: 'text' | 'name' | 'symbol'; readonly text: string; readonly at: number }
  | { readonly kind: 'number'; readonly value: number; readonly text: string; readonly at: number }
  | { readonly kind: 'end'; readonly text: ''; readonly at: number };

class CelFault extends Error {}

/** @returns the tree, or a sentence saying what cannot be read and where */
export function parseCel(text: string): Result<CelNode, string> {
  if (text.length > MOST_CHARACTERS)
    return fail(`the expression has ${text.length} characters; ${MOST_CHARACTERS} are taken`);
  try {
    return ok(new Parser(tokens(text)).whole());
  } catch (fault) {
    if (fault instanceof CelFault) return fail(fault.message);
    throw fault;
  }
}

function tokens(text: string): Token[] {
  const list: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match !== null) at += match[0].length;
    return match;
  };
  for (;;) {
    take(SPACE);
    const from = at;
    if (at === text.length) {
      list.push({ kind: 'end', text: '', at });
      return list;
    }
    let match = take(TEXT);
    if (match !== null) {
      const written = match[2] ?? match[3] ?? '';
      list.push({ kind: 'text', text: match[1] === 'r' ? written : unescaped(written), at: from });
      continue;
    }
    match = take(NUMBER);
    if (match !== null) {
      list.push({ kind: 'number', value: Number(match[0].replace(/u$/, '')), text: match[0], at: from });
      continue;
    }
    match = take(NAME);
    if (match !== null) {
      list.push({ kind: 'name', text: match[0], at: from });
      continue;
    }
    match = take(SYMBOL);
    if (match === null) throw new CelFault(`\`${text.slice(at, at + 10)}\` at ${at + 1} cannot be read`);
    list.push({ kind: 'symbol', text: match[0], at: from });
  }
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b', f: '\f', v: '\v' };

const unescaped = (written: string): string =>
  written.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))/g,
    (_, hex?: string, unicode?: string, other?: string) => {
      const code = hex ?? unicode;
      if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16));
      return other === undefined ? '' : (ESCAPES[other] ?? other);
    },
  );

/** Loosest first (CEL's grammar). */
const LEVELS: readonly (readonly BinaryOperator[])[] = [
  ['||'],
  ['&&'],
  ['==', '!=', '<', '<=', '>', '>=', 'in'],
  ['+', '-'],
  ['*', '/', '%'],
];

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(list: readonly Token[]) {
    this.#tokens = list;
  }

  whole(): CelNode {
    const node = this.#expression();
    if (this.#next().kind !== 'end') this.#unexpected();
    return node;
  }

  #next(): Token {
    return this.#tokens[this.#at] as Token;
  }

  #unexpected(): never {
    const { text, at } = this.#next();
    throw new CelFault(text === '' ? 'the expression ends early' : `\`${text}\` at ${at + 1} is not expected there`);
  }

  #skip(symbol: string): boolean {
    const token = this.#next();
    if (token.kind !== 'symbol' || token.text !== symbol) return false;
    this.#at++;
    return true;
  }

  #expect(symbol: string): void {
    if (!this.#skip(symbol)) this.#unexpected();
  }

  #expression(): CelNode {
    if (++this.#depth > MOST_DEPTH) throw new CelFault(`the expression is nested more than ${MOST_DEPTH} deep`);
    const when = this.#binary(0);
    let node = when;
    if (this.#skip('?')) {
      const then = this.#binary(0);
      this.#expect(':');
      node = { kind: 'choice', when, then, otherwise: this.#expression() };
    }
    this.#depth--;
    return node;
  }

  #binary(level: number): CelNode {
    const operators = LEVELS[level];
    if (operators === undefined) return this.#unary();
    let left = this.#binary(level + 1);
    for (;;) {
      const token = this.#next();
      const operator = operators.find(
        (o) => o === token.text && (token.kind === 'symbol' || (o === 'in' && token.kind === 'name')),
      );
      if (operator === undefined) return left;
      this.#at++;
      left = { kind: 'binary', operator, left, right: this.#binary(level + 1) };
    }
  }

  #unary(): CelNode {
    let not = 0;
    let minus = 0;
    while (this.#skip('!')) not++;
    if (not === 0) while (this.#skip('-')) minus++;
    let node = this.#postfix();
    if (not % 2 === 1) node = { kind: 'not', of: node };
    else if (not > 0) node = { kind: 'not', of: { kind: 'not', of: node } };
    return minus % 2 === 1 ? { kind: 'minus', of: node } : node;
  }

  #postfix(): CelNode {
    let node = this.#primary();
    for (;;) {
      if (this.#skip('.')) {
        const token = this.#next();
        if (token.kind !== 'name') this.#unexpected();
        this.#at++;
        node = this.#skip('(')
          ? { kind: 'call', name: token.text, on: node, args: this.#items(')') }
          : { kind: 'member', of: node, name: token.text };
      } else if (this.#skip('[')) {
        node = { kind: 'index', of: node, key: this.#expression() };
        this.#expect(']');
      } else return node;
    }
  }

  #items(end: ')' | ']'): CelNode[] {
    const items: CelNode[] = [];
    while (!this.#skip(end)) {
      if (items.length > 0) this.#expect(',');
      items.push(this.#expression());
    }
    return items;
  }

  #primary(): CelNode {
    const token = this.#next();
    this.#at++;
    switch (token.kind) {
      case 'text':
        return { kind: 'literal', value: token.text };
      case 'number':
        return { kind: 'literal', value: token.value };
      case 'name':
        if (token.text === 'true' || token.text === 'false') return { kind: 'literal', value: token.text === 'true' };
        if (token.text === 'null') return { kind: 'literal', value: null };
        if (this.#skip('(')) return { kind: 'call', name: token.text, on: undefined, args: this.#items(')') };
        return { kind: 'name', name: token.text };
      case 'symbol':
        if (token.text === '(') {
          const node = this.#expression();
          this.#expect(')');
          return node;
        }
        if (token.text === '[') return { kind: 'list', items: this.#items(']') };
    }
    this.#at--;
    return this.#unexpected();
  }
}
