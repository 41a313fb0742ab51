import { ExpressionParser } from "./expression-parser.ts";
import { Lexer, normalizeSource } from "./lexer.ts";
import type { Expression, Signature, Statement, Target } from "./syntax.ts";
import { TokenStream } from "./token-stream.ts";

/** Tags of Jinja2 that bring in other templates or need its translations: transformers has neither. */
const foreign = new Set(["include", "import", "from", "extends"]);
/** Tags of Jinja2 that no chat template was found to use. */
const unknownHere = new Set(["block", "autoescape"]);

/**
 * Reads a template by Jinja2's grammar, with the tags that transformers adds: break, continue and generation.
 *
 * @throws JinjaError of kind syntax with line and tag; unsupported for a tag of Jinja2's that this engine does not have
 */
export function parseTemplate(source: string): Statement[] {
  const text = normalizeSource(source);
  return new Parser(new TokenStream(new Lexer(text).tokens(), text)).template();
}

class Parser {
  readonly #stream: TokenStream;
  readonly #expressions: ExpressionParser;
  #loops = 0;

  constructor(stream: TokenStream) {
    this.#stream = stream;
    this.#expressions = new ExpressionParser(stream);
  }

  template(): Statement[] {
    return this.#statements([]);
  }

  /** Statements up to a tag with one of the names, whose name is the current token then; or to the template's end. */
  #statements(ends: readonly string[]): Statement[] {
    const stream = this.#stream;
    const statements: Statement[] = [];
    while (!stream.is("eof")) {
      const { line, value } = stream.current;
      if (stream.is("data")) {
        statements.push({ type: "text", text: stream.take().value, line, tag: "" });
        continue;
      }
      const tag = stream.tag();
      stream.take();
      if (value === "{{") {
        statements.push({ type: "print", value: this.#expressions.tuple(), line, tag });
        stream.expect("end");
        continue;
      }
      if (stream.is("name", ...ends) && ends.length > 0) return statements;
      const statement = this.#statement(line, tag);
      if (statement !== undefined) statements.push(statement);
      stream.expect("end");
    }
    if (ends.length > 0) throw stream.fail(`Unexpected end of template: no ${ends.join(", ")}`);
    return statements;
  }

  /** The body of a block: statements up to its end tag, whose name is taken. */
  #body(end: string): Statement[] {
    const body = this.#bodyUntil(end);
    this.#stream.take();
    return body;
  }

  #bodyUntil(...ends: string[]): Statement[] {
    this.#stream.skip("operator", ":");
    this.#stream.expect("end");
    return this.#statements(ends);
  }

  #statement(line: number, tag: string): Statement | undefined {
    const stream = this.#stream;
    const place = { line, tag };
    if (!stream.is("name")) throw stream.fail("tag name expected");
    const name = stream.take().value;
    switch (name) {
      case "print":
        return { type: "print", value: this.#expressions.tuple(), ...place };
      case "if":
        return { ...this.#if(), ...place };
      case "for":
        return { ...this.#for(), ...place };
      case "set":
        return { ...this.#set(), ...place };
      case "with":
        return { ...this.#with(), ...place };
      case "macro": {
        const macro = stream.expect("name").value;
        const signature = this.#signature();
        return { type: "macro", name: macro, signature, body: this.#insideMacro("endmacro"), ...place };
      }
      case "call": {
        const signature = stream.is("operator", "(") ? this.#signature() : { parameters: [] };
        const call = this.#expressions.expression();
        if (call.type !== "call") throw stream.fail("expected call");
        return { type: "callBlock", call, signature, body: this.#insideMacro("endcall"), ...place };
      }
      case "filter": {
        const filter = this.#expressions.filters(undefined, true) as Expression;
        return { type: "filterBlock", filter, body: this.#body("endfilter"), ...place };
      }
      case "generation":
        return { type: "generation", body: this.#insideMacro("endgeneration"), ...place };
      case "break":
      case "continue":
        if (this.#loops === 0) throw stream.fail(`'${name}' outside loop`);
        return { type: name, ...place };
    }
    throw this.#unknownTag(name);
  }

  #unknownTag(name: string): Error {
    if (foreign.has(name))
      return this.#stream.fail(`'${name}' needs other templates, and a chat template has none`);
    const error = this.#stream.fail(`unknown tag '${name}'`);
    return unknownHere.has(name)
      ? Object.assign(error, { kind: "unsupported" as const, message: `the tag '${name}'` })
      : error;
  }

  #if(): Pick<Extract<Statement, { type: "if" }>, "type" | "branches" | "otherwise"> {
    const branches: { test: Expression; body: Statement[] }[] = [];
    for (;;) {
      const test = this.#expressions.tuple({ withCondition: false });
      branches.push({ test, body: this.#bodyUntil("elif", "else", "endif") });
      const next = this.#stream.take().value;
      if (next === "endif") return { type: "if", branches, otherwise: [] };
      if (next === "else") return { type: "if", branches, otherwise: this.#body("endif") };
    }
  }

  #for() {
    const stream = this.#stream;
    const target = this.#expressions.target({ until: "in" });
    if (assigns(target, "loop"))
      throw stream.fail("can't assign to special loop variable in for-loop target");
    stream.expect("name", "in");
    const items = this.#expressions.tuple({ withCondition: false, until: "recursive" });
    const test = stream.skip("name", "if") ? this.#expressions.expression() : undefined;
    const isRecursive = stream.skip("name", "recursive");
    this.#loops++;
    const body = this.#bodyUntil("else", "endfor");
    this.#loops--;
    const otherwise = stream.take().value === "else" ? this.#body("endfor") : [];
    return { type: "for" as const, target, items, test, isRecursive, body, otherwise };
  }

  #set() {
    const target = this.#expressions.target({ namespaces: true });
    if (this.#stream.skip("operator", "=")) {
      return { type: "set" as const, target, value: this.#expressions.tuple() };
    }
    const filter = this.#expressions.filters(undefined);
    return { type: "setBlock" as const, target, filter, body: this.#body("endset") };
  }

  #with() {
    const assignments: { target: Target; value: Expression }[] = [];
    while (!this.#stream.is("end")) {
      if (assignments.length > 0) this.#stream.expect("operator", ",");
      const target = this.#expressions.target({ single: true });
      this.#stream.expect("operator", "=");
      assignments.push({ target, value: this.#expressions.expression() });
    }
    return { type: "with" as const, assignments, body: this.#body("endwith") };
  }

  #insideMacro(end: string): Statement[] {
    const outer = this.#loops;
    this.#loops = 0;
    const body = this.#body(end);
    this.#loops = outer;
    return body;
  }

  #signature(): Signature {
    const stream = this.#stream;
    const parameters: Signature["parameters"] = [];
    stream.expect("operator", "(");
    while (!stream.is("operator", ")")) {
      if (parameters.length > 0) stream.expect("operator", ",");
      const { value: name } = stream.expect("name");
      const fallback = stream.skip("operator", "=") ? this.#expressions.expression() : undefined;
      if (fallback === undefined && parameters.at(-1)?.fallback !== undefined) {
        throw stream.fail("non-default argument follows default argument");
      }
      parameters.push({ name, fallback });
    }
    stream.take();
    return { parameters };
  }
}

function assigns(target: Target, name: string): boolean {
  return target.type === "tuple" ? target.items.some((item) => assigns(item, name)) : target.name === name;
}
