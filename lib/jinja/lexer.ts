import { JinjaError } from "./error.ts";
import { isSpace, stripText } from "./text.ts";

export type TokenType =
  | "data"
  | "begin"
  | "end"
  | "name"
  | "string"
  | "integer"
  | "float"
  | "operator"
  | "eof";

/**
 * A piece of a template. `begin` and `end` stand for a tag's braces; their value is `{{`, `{%`, `}}` or `%}`.
 * `at` is where it begins in the template, whose line breaks are line feeds by then.
 */
export interface Token {
  type: TokenType;
  value: string;
  line: number;
  at: number;
}

/** A template's text as Jinja2 reads it: every kind of line break is a line feed, and a last one is left out. */
export function normalizeSource(source: string): string {
  return source.replace(/\r\n?/g, "\n").replace(/\n$/, "");
}

const space = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const patterns = {
  rawBegin: new RegExp(`\\{%([-+]?)${space}*raw${space}*(?:-%\\}${space}*|%\\})`, "y"),
  rawEnd: new RegExp(`\\{%([-+]?)${space}*endraw${space}*(?:\\+%\\}|-%\\}${space}*|%\\}\\n?)`, "y"),
  commentEnd: new RegExp(`\\+#\\}|-#\\}${space}*|#\\}\\n?`, "y"),
  "{%": new RegExp(`\\+%\\}|-%\\}${space}*|%\\}\\n?`, "y"),
  "{{": new RegExp(`-\\}\\}${space}*|\\}\\}`, "y"),
  space: new RegExp(`${space}+`, "y"),
  float: /(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy,
  integer: /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy,
  name: /[\p{L}\p{N}_]+/uy,
  string: /'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*"/sy,
  operator: /\/\/|\*\*|[=!<>]=|[-+/*%~[\](){}<>=.:|,;]/y,
};

/**
 * Cuts a template into tokens as Jinja2 does with `trim_blocks` and `lstrip_blocks`: a line break behind a block or comment
 * is left out, and so are blanks before one at the beginning of a line.
 */
export class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #line = 1;
  /** Up to where lines are counted. */
  #counted = 0;
  /** Whether what was read last ends a line, or nothing was read. */
  #startsLine = true;

  /** @param source normalised */
  constructor(source: string) {
    this.#source = source;
  }

  /** @throws JinjaError of kind syntax */
  tokens(): Token[] {
    while (this.#at < this.#source.length) this.#text();
    this.#push("eof", "", this.#at);
    return this.#tokens;
  }

  /** Text up to the next tag, and that tag. */
  #text(): void {
    const begin = this.#at;
    let open = this.#source.indexOf("{", begin);
    while (open >= 0 && !"{%#".includes(this.#source[open + 1] ?? " "))
      open = this.#source.indexOf("{", open + 1);
    if (open < 0) {
      this.#push("data", this.#source.slice(begin), begin);
      this.#at = this.#source.length;
      return;
    }
    const raw = this.#match("rawBegin", open);
    const sign = raw?.[1] ?? /[-+]/.exec(this.#source[open + 2] ?? "")?.[0] ?? "";
    const brace = this.#source.slice(open, open + 2);
    this.#data(begin, open, sign, brace !== "{{");
    if (raw !== null) {
      this.#moveTo(open + raw[0].length);
      this.#raw(open);
    } else if (brace === "{#") {
      this.#moveTo(open + 2 + sign.length);
      this.#comment(open);
    } else {
      this.#moveTo(open + 2 + sign.length);
      this.#tag(open, brace as "{{" | "{%");
    }
  }

  #data(begin: number, end: number, sign: string, isBlock: boolean): void {
    let text = this.#source.slice(begin, end);
    if (sign === "-") text = stripText(text, "right");
    else if (sign !== "+" && isBlock) {
      const lineBegin = text.lastIndexOf("\n") + 1;
      const blanks = Array.from(text.slice(lineBegin));
      if ((lineBegin > 0 || this.#startsLine) && blanks.every(isSpace)) text = text.slice(0, lineBegin);
    }
    if (text !== "") this.#push("data", text, begin);
  }

  #raw(open: number): void {
    for (
      let end = this.#at;
      end >= 0 && end < this.#source.length;
      end = this.#source.indexOf("{%", end + 1)
    ) {
      const match = this.#match("rawEnd", end);
      if (match === null) continue;
      this.#data(this.#at, end, match[1], true);
      this.#moveTo(end + match[0].length);
      return;
    }
    throw this.#broken("Missing end of raw directive", open);
  }

  #comment(open: number): void {
    if (this.#at >= this.#source.length) return;
    for (
      let end = this.#source.indexOf("#}", this.#at);
      end >= 0;
      end = this.#source.indexOf("#}", end + 1)
    ) {
      const begin = end > this.#at && "-+".includes(this.#source[end - 1]) ? end - 1 : end;
      const match = this.#match("commentEnd", begin);
      if (match !== null) {
        this.#moveTo(begin + match[0].length);
        return;
      }
    }
    throw this.#broken("Missing end of comment tag", open);
  }

  /** The inside of a tag, up to and with its closing braces. */
  #tag(open: number, brace: "{{" | "{%"): void {
    this.#push("begin", brace, open);
    const brackets: string[] = [];
    while (this.#at < this.#source.length) {
      const at = this.#at;
      const end = brackets.length === 0 ? this.#match(brace, at) : null;
      if (end !== null) {
        this.#push("end", brace === "{{" ? "}}" : "%}", at);
        this.#moveTo(at + end[0].length);
        return;
      }
      const skipped = this.#match("space", at);
      if (skipped !== null) {
        this.#moveTo(at + skipped[0].length);
        continue;
      }
      const token = this.#inside(at, brackets);
      this.#tokens.push(token);
    }
    throw this.#broken("unexpected end of template", open);
  }

  #inside(at: number, brackets: string[]): Token {
    for (const type of ["float", "integer", "name", "string", "operator"] as const) {
      // `x.0.1` is two subscripts, no number.
      if (type === "float" && this.#source[at - 1] === ".") continue;
      const value = this.#match(type, at)?.[0];
      if (value === undefined) continue;
      const line = this.#lineAt(at);
      if (type === "name" && !/^[\p{L}_]/u.test(value))
        throw this.#broken("Invalid character in identifier", at);
      if (type === "operator") this.#balance(value, brackets, at);
      this.#moveTo(at + value.length);
      return { type, value, line, at };
    }
    throw this.#broken(`unexpected char ${JSON.stringify(this.#source[at])}`, at);
  }

  #balance(operator: string, brackets: string[], at: number): void {
    const closing = { "(": ")", "[": "]", "{": "}" }[operator];
    if (closing !== undefined) brackets.push(closing);
    else if (")]}".includes(operator) && brackets.pop() !== operator) {
      throw this.#broken(`unexpected '${operator}'`, at);
    }
  }

  #match(pattern: keyof typeof patterns, at: number): RegExpExecArray | null {
    patterns[pattern].lastIndex = at;
    return patterns[pattern].exec(this.#source);
  }

  #moveTo(at: number): void {
    this.#startsLine = this.#source[at - 1] === "\n";
    this.#at = at;
  }

  #push(type: TokenType, value: string, at: number): void {
    this.#tokens.push({ type, value, line: this.#lineAt(at), at });
  }

  /** The line of a place; places come in order. */
  #lineAt(at: number): number {
    for (; this.#counted < at; this.#counted++) if (this.#source[this.#counted] === "\n") this.#line++;
    return this.#line;
  }

  #broken(message: string, at: number): JinjaError {
    const line = this.#source.slice(0, at).split("\n").length;
    return new JinjaError("syntax", message, line, this.#source.slice(at, at + 60).split("\n")[0]);
  }
}
