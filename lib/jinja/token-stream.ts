import { JinjaError } from "./error.ts";
import type { Token, TokenType } from "./lexer.ts";

/** Tokens one after another, for a parser. */
export class TokenStream {
  readonly #tokens: readonly Token[];
  readonly #source: string;
  #next = 0;

  constructor(tokens: readonly Token[], source: string) {
    this.#tokens = tokens;
    this.#source = source;
  }

  get current(): Token {
    return this.#tokens[this.#next];
  }

  get following(): Token {
    return this.#tokens[Math.min(this.#next + 1, this.#tokens.length - 1)];
  }

  take(): Token {
    const token = this.current;
    if (token.type !== "eof") this.#next++;
    return token;
  }

  is(type: TokenType, ...values: string[]): boolean {
    return this.current.type === type && (values.length === 0 || values.includes(this.current.value));
  }

  /** Takes the current token if it is this one. */
  skip(type: TokenType, ...values: string[]): boolean {
    const found = this.is(type, ...values);
    if (found) this.take();
    return found;
  }

  expect(type: TokenType, value?: string): Token {
    if (!this.is(type, ...(value === undefined ? [] : [value]))) {
      throw this.fail(`expected ${value ?? type}, got ${describe(this.current)}`);
    }
    return this.take();
  }

  /** The error that the template breaks the grammar here. */
  fail(message: string, line = this.current.line): JinjaError {
    return new JinjaError("syntax", message, line, this.tag());
  }

  /** The text of the tag that the current token stands in. */
  tag(): string {
    let begin = this.#next;
    while (begin > 0 && this.#tokens[begin].type !== "begin") begin--;
    let end = begin;
    while (end < this.#tokens.length - 1 && this.#tokens[end].type !== "end") end++;
    const close = this.#tokens[end];
    return this.#source.slice(this.#tokens[begin].at, close.at + close.value.length);
  }
}

function describe(token: Token): string {
  if (token.type === "eof") return "the end of the template";
  return token.type === "begin" || token.type === "end"
    ? `'${token.value}'`
    : `${token.type} ${JSON.stringify(token.value)}`;
}
