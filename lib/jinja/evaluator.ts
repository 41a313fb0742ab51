import { attribute, item } from "./attributes.ts";
import { Budget } from "./budget.ts";
import { raised, unsupported } from "./error.ts";
import type { Context } from "./filter.ts";
import { filters, unknownFilter } from "./filters.ts";
import { bounded } from "./numbers.ts";
import { asNumber, calculate, compare, slice } from "./operators.ts";
import { bindParameters } from "./parameters.ts";
import { textOf } from "./representation.ts";
import type { Scope } from "./scope.ts";
import type { Arguments, Expression } from "./syntax.ts";
import { applyTest } from "./tests.ts";
import { Callable, Dict, isTrue, iterate, Tuple, typeName, Undefined, type Value } from "./values.ts";

/** Evaluates a template's expressions. One is made for each rendering, for it counts what that takes. */
export class Evaluator implements Context {
  readonly budget = new Budget();

  evaluate(node: Expression, scope: Scope): Value {
    this.budget.spend(1);
    switch (node.type) {
      case "constant":
        return node.value;
      case "name":
        return scope.get(node.name);
      case "list":
        return this.#paid(node.items.map((one) => this.evaluate(one, scope)));
      case "tuple":
        return this.#paid(new Tuple(node.items.map((one) => this.evaluate(one, scope))));
      case "dict": {
        const entries = node.entries.map(
          (entry) => entry.map((one) => this.evaluate(one, scope)) as [Value, Value],
        );
        return this.#paid(new Dict(entries));
      }
      case "binary": {
        const [left, right] = [this.evaluate(node.left, scope), this.evaluate(node.right, scope)];
        return this.#paid(calculate(node.operator, left, right, this.budget));
      }
      case "unary":
        return this.#unary(node.operator, this.evaluate(node.operand, scope));
      case "and":
      case "or": {
        const left = this.evaluate(node.left, scope);
        return isTrue(left) === (node.type === "and") ? this.evaluate(node.right, scope) : left;
      }
      case "compare":
        return this.#compare(node, scope);
      case "concat":
        return this.#concat(node.items, scope);
      case "condition": {
        if (isTrue(this.evaluate(node.test, scope))) return this.evaluate(node.then, scope);
        if (node.otherwise !== undefined) return this.evaluate(node.otherwise, scope);
        return new Undefined("the inline if-expression evaluated to false and no else section was defined.");
      }
      case "attribute":
        return attribute(this.evaluate(node.object, scope), node.name, this.budget);
      case "item":
        return this.#item(node, scope);
      case "slice":
        throw raised("a slice can only stand in the brackets behind a value");
      case "call": {
        const callee = this.evaluate(node.callee, scope);
        return this.call(callee, ...this.arguments(node.args, scope));
      }
      case "filter":
        return this.filter(node, this.evaluate(node.operand as Expression, scope), scope);
      case "test": {
        const value = this.evaluate(node.operand, scope);
        return this.applyTest(node.name, value, ...this.arguments(node.args, scope));
      }
    }
  }

  /** Applies a filter, or the chain of those that stand before it in a block's tag. */
  filter(node: Expression, value: Value, scope: Scope): Value {
    if (node.type !== "filter") return value;
    const operand =
      node.operand?.type === "filter" && isChain(node) ? this.filter(node.operand, value, scope) : value;
    return this.applyFilter(node.name, operand, ...this.arguments(node.args, scope));
  }

  call(callee: Value, positional: Value[], named: ReadonlyMap<string, Value>): Value {
    if (callee instanceof Undefined) throw callee.error();
    if (!(callee instanceof Callable)) throw raised(`'${typeName(callee)}' object is not callable`);
    this.budget.spendOn([...positional, ...named.values()]);
    return callee.call(positional, named);
  }

  arguments(args: Arguments, scope: Scope): [Value[], Map<string, Value>] {
    const positional = args.positional.map((one) => this.evaluate(one, scope));
    const named = new Map(args.named.map(({ name, value }) => [name, this.evaluate(value, scope)] as const));
    if (args.rest !== undefined) positional.push(...iterate(this.evaluate(args.rest, scope)));
    if (args.more !== undefined) {
      const more = this.evaluate(args.more, scope);
      if (!(more instanceof Dict)) throw raised(`argument after ** must be a mapping, not ${typeName(more)}`);
      for (const [name, value] of more.entries()) {
        if (named.has(textOf(name)))
          throw raised(`got multiple values for keyword argument '${textOf(name)}'`);
        named.set(textOf(name), value);
      }
    }
    return [positional, named];
  }

  applyFilter(
    name: string,
    value: Value,
    positional: readonly Value[],
    named: ReadonlyMap<string, Value>,
  ): Value {
    const found = Object.hasOwn(filters, name) ? filters[name] : undefined;
    if (found === undefined) throw unknownFilter(name);
    this.budget.spendOn([value, ...positional]);
    if (found.parameters === "any") return found.run(value, positional, named, this);
    return found.run(value, bindParameters(name, found.parameters, positional, named), this);
  }

  applyTest(
    name: string,
    value: Value,
    positional: readonly Value[],
    named: ReadonlyMap<string, Value>,
  ): boolean {
    this.budget.spendOn([value, ...positional]);
    return applyTest(name, value, positional, named, this);
  }

  item(value: Value, key: Value): Value {
    return item(value, key, this.budget);
  }

  /** A value that was put together, paid for. */
  #paid(value: Value): Value {
    this.budget.spendOn([value]);
    return value;
  }

  #unary(operator: "-" | "+" | "not", value: Value): Value {
    if (operator === "not") return !isTrue(value);
    if (value instanceof Undefined) throw value.error();
    const number = asNumber(value);
    if (number === undefined) throw raised(`bad operand type for unary ${operator}: '${typeName(value)}'`);
    if (operator === "+") return number;
    return typeof number === "bigint" ? bounded(-number) : -number;
  }

  #compare(node: Extract<Expression, { type: "compare" }>, scope: Scope): Value {
    let left = this.evaluate(node.first, scope);
    for (const { operator, operand } of node.others) {
      const right = this.evaluate(operand, scope);
      this.budget.spendOn([left, right]);
      if (!compare(operator, left, right)) return false;
      left = right;
    }
    return true;
  }

  #concat(items: readonly Expression[], scope: Scope): Value {
    const values = items.map((one) => this.evaluate(one, scope));
    this.budget.spendOn(values);
    return values.map(textOf).join("");
  }

  #item(node: Extract<Expression, { type: "item" }>, scope: Scope): Value {
    const object = this.evaluate(node.object, scope);
    const { key } = node;
    if (key.type !== "slice") {
      if (key.type === "tuple" && key.items.some(({ type }) => type === "slice"))
        throw unsupported("slices with commas");
      return item(object, this.evaluate(key, scope), this.budget);
    }
    if (object instanceof Undefined) throw object.error();
    const bound = (one: Expression | undefined) => (one === undefined ? null : this.evaluate(one, scope));
    const part = slice(object, { begin: bound(key.begin), end: bound(key.end), step: bound(key.step) });
    if (part !== undefined) return part;
    // Jinja2 computes literals when it compiles, and takes what fails there for undefined.
    if (["constant", "list", "tuple", "dict"].includes(node.object.type))
      return new Undefined("there is no such slice");
    throw raised(`'${typeName(object)}' object cannot be sliced so`);
  }
}

/** Whether a filter has no operand at its beginning: it is applied to a block. */
function isChain(node: Expression): boolean {
  return node.type === "filter" && (node.operand === undefined || isChain(node.operand));
}
