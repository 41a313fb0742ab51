import { unsupported } from "./error.ts";
import type { Arguments, Comparison, Expression, Operator, Target } from "./syntax.ts";
import type { TokenStream } from "./token-stream.ts";

const constants = new Map<string, boolean | null>([
  ...(["true", "True"] as const).map((name) => [name, true] as const),
  ...(["false", "False"] as const).map((name) => [name, false] as const),
  ...(["none", "None"] as const).map((name) => [name, null] as const),
]);

/** Jinja2's expressions, from the loosest binding to the tightest. */
export class ExpressionParser {
  readonly #stream: TokenStream;

  constructor(stream: TokenStream) {
    this.#stream = stream;
  }

  expression(withCondition = true): Expression {
    return withCondition ? this.#condition() : this.#or();
  }

  /** One expression, or several with commas between them. */
  tuple(options: { withCondition?: boolean; until?: string; parenthesised?: boolean } = {}): Expression {
    const { withCondition = true, until, parenthesised = false } = options;
    return this.#sequence(() => this.expression(withCondition), until, parenthesised);
  }

  /** What a value is assigned to: a name, names with commas, and where `namespaces` may be, `namespace.attribute`. */
  target(options: { until?: string; namespaces?: boolean; single?: boolean } = {}): Target {
    const { until, namespaces = false, single = false } = options;
    const one = (): Expression => {
      if (namespaces && this.#stream.is("name") && this.#stream.following.value === ".") {
        const name = this.#stream.take().value;
        this.#stream.take();
        return { type: "attribute", object: { type: "name", name }, name: this.#stream.expect("name").value };
      }
      return this.#primary(namespaces);
    };
    const parsed = single ? one() : this.#sequence(one, until, false);
    return this.#asTarget(parsed);
  }

  callArguments(): Arguments {
    const stream = this.#stream;
    const args: Arguments = { positional: [], named: [] };
    stream.expect("operator", "(");
    for (let first = true; !stream.is("operator", ")"); first = false) {
      if (!first) {
        stream.expect("operator", ",");
        if (stream.is("operator", ")")) break;
      }
      if (stream.skip("operator", "*")) {
        if (args.rest !== undefined || args.more !== undefined)
          throw stream.fail("invalid syntax for function call");
        args.rest = this.expression();
      } else if (stream.skip("operator", "**")) {
        if (args.more !== undefined) throw stream.fail("invalid syntax for function call");
        args.more = this.expression();
      } else if (args.more !== undefined) throw stream.fail("invalid syntax for function call");
      else if (stream.is("name") && stream.following.type === "operator" && stream.following.value === "=") {
        const name = stream.take().value;
        stream.take();
        args.named.push({ name, value: this.expression() });
      } else {
        if (args.named.length > 0 || args.rest !== undefined)
          throw stream.fail("invalid syntax for function call");
        args.positional.push(this.expression());
      }
    }
    stream.expect("operator", ")");
    return args;
  }

  /** Filters behind `operand`; with `inline`, the first one stands without a `|`. */
  filters(operand: Expression | undefined, inline = false): Expression | undefined {
    let result = operand;
    for (let bare = inline; bare || this.#stream.is("operator", "|"); bare = false) {
      if (!bare) this.#stream.take();
      const name = this.#dottedName();
      const args = this.#stream.is("operator", "(") ? this.callArguments() : { positional: [], named: [] };
      result = { type: "filter", operand: result, name, args };
    }
    return result;
  }

  #sequence(one: () => Expression, until: string | undefined, parenthesised: boolean): Expression {
    const stream = this.#stream;
    const items: Expression[] = [];
    let isTuple = false;
    while (
      !stream.is("end") &&
      !stream.is("operator", ")") &&
      !(until !== undefined && stream.is("name", until))
    ) {
      items.push(one());
      if (!stream.skip("operator", ",")) break;
      isTuple = true;
    }
    if (isTuple) return { type: "tuple", items };
    if (items.length > 0) return items[0];
    if (!parenthesised) throw stream.fail("Expected an expression");
    return { type: "tuple", items };
  }

  #asTarget(expression: Expression): Target {
    if (expression.type === "name") return { type: "name", name: expression.name };
    if (expression.type === "tuple")
      return { type: "tuple", items: expression.items.map((item) => this.#asTarget(item)) };
    if (expression.type === "attribute" && expression.object.type === "name") {
      return { type: "namespace", name: expression.object.name, attribute: expression.name };
    }
    throw this.#stream.fail(`can't assign to ${expression.type}`);
  }

  #condition(): Expression {
    let then = this.#or();
    while (this.#stream.skip("name", "if")) {
      const test = this.#or();
      const otherwise = this.#stream.skip("name", "else") ? this.#condition() : undefined;
      then = { type: "condition", test, then, otherwise };
    }
    return then;
  }

  #or(): Expression {
    let left = this.#and();
    while (this.#stream.skip("name", "or")) left = { type: "or", left, right: this.#and() };
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.#stream.skip("name", "and")) left = { type: "and", left, right: this.#not() };
    return left;
  }

  #not(): Expression {
    if (!this.#stream.skip("name", "not")) return this.#compare();
    return { type: "unary", operator: "not", operand: this.#not() };
  }

  #compare(): Expression {
    const first = this.#sum();
    const others: { operator: Comparison; operand: Expression }[] = [];
    for (;;) {
      const operator = this.#comparison();
      if (operator === undefined) break;
      others.push({ operator, operand: this.#sum() });
    }
    return others.length === 0 ? first : { type: "compare", first, others };
  }

  #comparison(): Comparison | undefined {
    const stream = this.#stream;
    if (stream.is("operator", "==", "!=", "<", "<=", ">", ">=")) return stream.take().value as Comparison;
    if (stream.skip("name", "in")) return "in";
    if (stream.is("name", "not") && stream.following.type === "name" && stream.following.value === "in") {
      stream.take();
      stream.take();
      return "not in";
    }
    return undefined;
  }

  #binary(operators: Operator[], operand: () => Expression): Expression {
    let left = operand();
    while (this.#stream.is("operator", ...operators)) {
      const operator = this.#stream.take().value as Operator;
      left = { type: "binary", operator, left, right: operand() };
    }
    return left;
  }

  #sum(): Expression {
    return this.#binary(["+", "-"], () => this.#concat());
  }

  #concat(): Expression {
    const items = [this.#product()];
    while (this.#stream.skip("operator", "~")) items.push(this.#product());
    return items.length === 1 ? items[0] : { type: "concat", items };
  }

  #product(): Expression {
    return this.#binary(["*", "/", "//", "%"], () => this.#binary(["**"], () => this.#unary(true)));
  }

  #unary(withFilters: boolean): Expression {
    const stream = this.#stream;
    let node: Expression;
    if (stream.is("operator", "-", "+")) {
      node = { type: "unary", operator: stream.take().value as "-" | "+", operand: this.#unary(false) };
    } else node = this.#primary();
    node = this.#postfix(node);
    return withFilters ? this.#filtersAndTests(node) : node;
  }

  #primary(namespaces = false): Expression {
    const stream = this.#stream;
    const token = stream.take();
    switch (token.type) {
      case "name": {
        const value = constants.get(token.value);
        return value === undefined ? { type: "name", name: token.value } : { type: "constant", value };
      }
      case "string": {
        let value = literalText(token.value);
        while (stream.is("string")) value += literalText(stream.take().value);
        return { type: "constant", value };
      }
      case "integer":
        return { type: "constant", value: integer(token.value) };
      case "float":
        return { type: "constant", value: Number(token.value.replaceAll("_", "")) };
      case "operator":
        if (token.value === "(") {
          const inside = namespaces
            ? this.#sequence(() => this.#primary(true), undefined, true)
            : this.tuple({ parenthesised: true });
          stream.expect("operator", ")");
          return inside;
        }
        if (token.value === "[") return { type: "list", items: this.#until("]", () => this.expression()) };
        if (token.value === "{") {
          const entry = (): [Expression, Expression] => {
            const key = this.expression();
            stream.expect("operator", ":");
            return [key, this.expression()];
          };
          return { type: "dict", entries: this.#until("}", entry) };
        }
    }
    throw stream.fail(
      `unexpected ${token.type === "eof" ? "end of template" : `'${token.value}'`}`,
      token.line,
    );
  }

  #until<Item>(closing: string, one: () => Item): Item[] {
    const items: Item[] = [];
    while (!this.#stream.is("operator", closing)) {
      if (items.length > 0) {
        this.#stream.expect("operator", ",");
        if (this.#stream.is("operator", closing)) break;
      }
      items.push(one());
    }
    this.#stream.take();
    return items;
  }

  #postfix(primary: Expression): Expression {
    let node = primary;
    for (;;) {
      if (this.#stream.is("operator", ".", "[")) node = this.#subscript(node);
      else if (this.#stream.is("operator", "("))
        node = { type: "call", callee: node, args: this.callArguments() };
      else return node;
    }
  }

  #filtersAndTests(operand: Expression): Expression {
    let node = operand;
    for (;;) {
      if (this.#stream.is("operator", "|")) node = this.filters(node) as Expression;
      else if (this.#stream.is("name", "is")) node = this.#test(node);
      else if (this.#stream.is("operator", "("))
        node = { type: "call", callee: node, args: this.callArguments() };
      else return node;
    }
  }

  #subscript(object: Expression): Expression {
    const stream = this.#stream;
    if (stream.take().value === ".") {
      const token = stream.take();
      if (token.type === "name") return { type: "attribute", object, name: token.value };
      if (token.type !== "integer") throw stream.fail("expected name or number");
      return { type: "item", object, key: { type: "constant", value: integer(token.value) } };
    }
    const keys = this.#until("]", () => this.#key());
    return { type: "item", object, key: keys.length === 1 ? keys[0] : { type: "tuple", items: keys } };
  }

  /** What stands in the brackets of a subscript: an expression or a slice. */
  #key(): Expression {
    const stream = this.#stream;
    const ends = () => stream.is("operator", "]", ",");
    const begin = stream.is("operator", ":") ? undefined : this.expression();
    if (!stream.skip("operator", ":")) return begin as Expression;
    const end = stream.is("operator", ":") || ends() ? undefined : this.expression();
    const step = stream.skip("operator", ":") && !ends() ? this.expression() : undefined;
    return { type: "slice", ...(begin && { begin }), ...(end && { end }), ...(step && { step }) };
  }

  #test(operand: Expression): Expression {
    const stream = this.#stream;
    stream.take();
    const negated = stream.skip("name", "not");
    const name = this.#dottedName();
    let args: Arguments = { positional: [], named: [] };
    const startsArgument =
      stream.is("string") ||
      stream.is("integer") ||
      stream.is("float") ||
      stream.is("operator", "[", "{") ||
      (stream.is("name") && !stream.is("name", "else", "or", "and"));
    if (stream.is("operator", "(")) args = this.callArguments();
    else if (startsArgument) {
      if (stream.is("name", "is")) throw stream.fail("You cannot chain multiple tests with is");
      args = { positional: [this.#postfix(this.#primary())], named: [] };
    }
    const node: Expression = { type: "test", operand, name, args };
    return negated ? { type: "unary", operator: "not", operand: node } : node;
  }

  #dottedName(): string {
    let name = this.#stream.expect("name").value;
    while (this.#stream.skip("operator", ".")) name += `.${this.#stream.expect("name").value}`;
    return name;
  }
}

function integer(text: string): bigint {
  return BigInt(text.replaceAll("_", ""));
}

const escapes: Readonly<Record<string, string>> = {
  ...{ n: "\n", r: "\r", t: "\t", b: "\b", f: "\f", v: "\v", a: "\x07" },
  ...{ "\\": "\\", "'": "'", '"': '"', "\n": "" },
};

/** The value of a string literal, with Python's escapes. An escape that Python does not know stays as it is. */
function literalText(literal: string): string {
  return literal
    .slice(1, -1)
    .replace(
      /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|(.))/gsu,
      (all, x?: string, u?: string, long?: string, octal?: string, letter?: string) => {
        const hex = x ?? u ?? long;
        if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
        if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
        if ("xuU".includes(letter as string)) throw unsupported(`the escape ${all} in a string is cut off`);
        if (letter === "N") throw unsupported("\\N{…} in a string");
        return escapes[letter as string] ?? all;
      },
    );
}
