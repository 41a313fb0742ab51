import { JinjaError, raised } from "./error.ts";
import { Evaluator } from "./evaluator.ts";
import { Loop } from "./loop.ts";
import { type MacroUse, macroUse, makeMacro } from "./macro.ts";
import { textOf } from "./representation.ts";
import { Scope } from "./scope.ts";
import type { Expression, Signature, Statement, Target } from "./syntax.ts";
import { isTrue, iterate, Namespace, Undefined, type Value } from "./values.ts";

/** How a list of statements ended: at its end, or with a tag that leaves the loop or its turn. */
type Ending = "end" | "break" | "continue";

/** How deep macros and recursive loops may call one another. */
const largestDepth = 200;

/** Renders a template once. */
export class Renderer {
  readonly #evaluator = new Evaluator();
  #output: string[] = [];
  #depth = 0;

  /** @throws JinjaError with the line and text of the tag in which it happened */
  render(statements: readonly Statement[], variables: Scope): string {
    return this.#captured(statements, variables);
  }

  #captured(statements: readonly Statement[], scope: Scope): string {
    const outer = this.#output;
    this.#output = [];
    try {
      this.#run(statements, scope);
      return this.#output.join("");
    } finally {
      this.#output = outer;
    }
  }

  #run(statements: readonly Statement[], scope: Scope): Ending {
    for (const statement of statements) {
      try {
        const ending = this.#statement(statement, scope);
        if (ending !== "end") return ending;
      } catch (error) {
        throw placed(error, statement);
      }
    }
    return "end";
  }

  #statement(node: Statement, scope: Scope): Ending {
    this.#evaluator.budget.spend(1);
    switch (node.type) {
      case "text":
        this.#write(node.text);
        return "end";
      case "print":
        this.#write(textOf(this.#evaluate(node.value, scope)));
        return "end";
      case "if":
        return this.#if(node, scope);
      case "for":
        return this.#for(node, scope);
      case "set":
        this.#assign(node.target, this.#evaluate(node.value, scope), scope);
        return "end";
      case "setBlock": {
        const text = this.#captured(node.body, new Scope(scope));
        const value = node.filter === undefined ? text : this.#evaluator.filter(node.filter, text, scope);
        this.#assign(node.target, value, scope);
        return "end";
      }
      case "with": {
        const inner = new Scope(scope);
        const values = node.assignments.map(({ value }) => this.#evaluate(value, scope));
        for (const [i, { target }] of node.assignments.entries()) this.#assign(target, values[i], inner);
        return this.#run(node.body, inner);
      }
      case "macro":
        scope.set(node.name, this.#macro(node.name, node.signature, node.body, scope));
        return "end";
      case "callBlock": {
        const caller = this.#macro(null, node.signature, node.body, scope);
        const callee = this.#evaluate(node.call.callee, scope);
        const [positional, named] = this.#evaluator.arguments(node.call.args, scope);
        named.set("caller", caller);
        this.#write(textOf(this.#evaluator.call(callee, positional, named)));
        return "end";
      }
      case "filterBlock": {
        const text = this.#captured(node.body, new Scope(scope));
        this.#write(textOf(this.#evaluator.filter(node.filter, text, scope)));
        return "end";
      }
      case "generation":
        this.#write(this.#captured(node.body, new Scope(scope)));
        return "end";
      case "break":
      case "continue":
        return node.type;
    }
  }

  #evaluate(expression: Expression, scope: Scope): Value {
    return this.#evaluator.evaluate(expression, scope);
  }

  #write(text: string): void {
    this.#evaluator.budget.spend(text.length);
    this.#output.push(text);
  }

  #if(node: Extract<Statement, { type: "if" }>, scope: Scope): Ending {
    const branch = node.branches.find(({ test }) => isTrue(this.#evaluate(test, scope)));
    return this.#run(branch?.body ?? node.otherwise, scope);
  }

  #for(node: Extract<Statement, { type: "for" }>, scope: Scope): Ending {
    this.#loop(node, this.#evaluate(node.items, scope), scope, 0);
    return "end";
  }

  #loop(node: Extract<Statement, { type: "for" }>, iterable: Value, scope: Scope, depth: number): void {
    const all = iterate(iterable);
    this.#evaluator.budget.spend(all.length);
    const items = all.filter((item) => {
      if (node.test === undefined) return true;
      const inner = new Scope(scope);
      inner.set("loop", unsetLoop);
      this.#assign(node.target, item, inner);
      return isTrue(this.#evaluate(node.test, inner));
    });
    const loop = new Loop(items, depth);
    const again = (others: Value): string =>
      this.#nested(() => this.#loopText(node, others, scope, depth + 1));
    const variable = loop.variable(node.isRecursive ? again : undefined);
    let isRun = false;
    for (const [i, item] of items.entries()) {
      loop.moveTo(i);
      const inner = new Scope(scope);
      inner.set("loop", variable);
      this.#assign(node.target, item, inner);
      const ending = this.#run(node.body, inner);
      if (ending === "end") isRun = true;
      if (ending === "break") break;
    }
    // In Jinja2, a body that was left by break or continue each time has not run.
    if (!isRun) this.#run(node.otherwise, new Scope(scope));
  }

  #loopText(node: Extract<Statement, { type: "for" }>, items: Value, scope: Scope, depth: number): string {
    const outer = this.#output;
    this.#output = [];
    try {
      this.#loop(node, items, scope, depth);
      return this.#output.join("");
    } finally {
      this.#output = outer;
    }
  }

  #macro(name: string | null, signature: Signature, body: Statement[], scope: Scope) {
    const use: MacroUse = macroUse(signature, body);
    return makeMacro(name, signature, use, (given) =>
      this.#nested(() => {
        const inner = new Scope(scope);
        for (const [key, value] of given) inner.set(key, value);
        for (const { name: parameter, fallback } of signature.parameters) {
          if (given.has(parameter)) continue;
          inner.set(parameter, fallback === undefined ? missing(parameter) : this.#evaluate(fallback, inner));
        }
        return this.#captured(body, inner);
      }),
    );
  }

  #nested(render: () => string): string {
    if (++this.#depth > largestDepth)
      throw new JinjaError("limit", `macros call one another more than ${largestDepth} deep`);
    try {
      return render();
    } finally {
      this.#depth--;
    }
  }

  #assign(target: Target, value: Value, scope: Scope): void {
    if (target.type === "name") scope.set(target.name, value);
    else if (target.type === "tuple") {
      const items = iterate(value);
      if (items.length !== target.items.length) {
        const few = items.length < target.items.length;
        throw raised(`${few ? "not enough" : "too many"} values to unpack (expected ${target.items.length})`);
      }
      for (const [i, one] of target.items.entries()) this.#assign(one, items[i], scope);
    } else {
      const object = scope.get(target.name);
      if (!(object instanceof Namespace)) throw raised("cannot assign attribute on non-namespace object");
      object.attributes.set(target.attribute, value);
    }
  }
}

const unsetLoop = new Undefined("'loop' is undefined in the condition of its own loop");

function missing(parameter: string): Undefined {
  return new Undefined(`parameter '${parameter}' was not provided`);
}

/** The error with the place of the innermost tag in which it happened. */
function placed(error: unknown, { line, tag }: Statement): unknown {
  if (error instanceof RangeError) {
    // JavaScript's stack is full, or a text too long.
    return new JinjaError("limit", `it is nested too deeply or makes too much (${error.message})`, line, tag);
  }
  if (error instanceof JinjaError && error.line === undefined) Object.assign(error, { line, tag });
  return error;
}
