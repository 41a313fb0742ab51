import type { Budget } from "./budget.ts";
import { raised } from "./error.ts";
import { formatPercent } from "./formatting.ts";
import { bounded, divideFloats, divideIntegers, power } from "./numbers.ts";
import { escapeHtml, textOf } from "./representation.ts";
import type { Comparison, Operator } from "./syntax.ts";
import { characters, compareText, lengthOf } from "./text.ts";
import {
  Callable,
  Dict,
  DictView,
  itemsOf,
  Markup,
  Range,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** A number for arithmetic: true is 1. Undefined for what is no number. */
export function asNumber(value: Value): bigint | number | undefined {
  if (typeof value === "boolean") return BigInt(value);
  return typeof value === "bigint" || typeof value === "number" ? value : undefined;
}

/** An index or count; true is 1. Undefined for what is no int. */
export function asInteger(value: Value | undefined): number | undefined {
  if (typeof value === "boolean") return Number(value);
  if (typeof value !== "bigint") return undefined;
  // Beyond this, an index is outside of everything anyway.
  const bound = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(value > bound ? bound : value < -bound ? -bound : value);
}

/** Arithmetic of two values, by Python's rules. */
export function calculate(operator: Operator, left: Value, right: Value, budget: Budget): Value {
  if (operator === "%" && (typeof left === "string" || left instanceof Markup)) {
    return formatPercent(textOf(left), right, budget);
  }
  for (const value of [left, right]) if (value instanceof Undefined) throw value.error();
  const [a, b] = [asNumber(left), asNumber(right)];
  if (a !== undefined && b !== undefined) return arithmetic(operator, a, b);
  if (operator === "+") {
    const sum = joined(left, right, budget);
    if (sum !== undefined) return sum;
  }
  if (operator === "*") {
    const [sequence, count] =
      asInteger(right) === undefined ? [right, asInteger(left)] : [left, asInteger(right)];
    const product = count === undefined ? undefined : repeated(sequence, Math.max(0, count), budget);
    if (product !== undefined) return product;
  }
  throw raised(`unsupported operand type(s) for ${operator}: '${typeName(left)}' and '${typeName(right)}'`);
}

function arithmetic(operator: Operator, a: bigint | number, b: bigint | number): Value {
  const bothInts = typeof a === "bigint" && typeof b === "bigint";
  switch (operator) {
    case "+":
      return bothInts ? bounded(a + b) : Number(a) + Number(b);
    case "-":
      return bothInts ? bounded(a - b) : Number(a) - Number(b);
    case "*":
      return bothInts ? bounded(a * b) : Number(a) * Number(b);
    case "/":
      if (Number(b) === 0) throw raised("division by zero");
      return Number(a) / Number(b);
    case "//":
      return bothInts ? divideIntegers(a, b).quotient : divideFloats(Number(a), Number(b)).quotient;
    case "%":
      return bothInts ? divideIntegers(a, b).rest : divideFloats(Number(a), Number(b)).rest;
    case "**":
      return power(a, b);
  }
}

function joined(left: Value, right: Value, budget: Budget): Value | undefined {
  const isText = (value: Value) => typeof value === "string" || value instanceof Markup;
  if (isText(left) && isText(right)) {
    const isMarkup = left instanceof Markup || right instanceof Markup;
    const [a, b] = isMarkup
      ? [escapeHtml(left).text, escapeHtml(right).text]
      : [left as string, right as string];
    budget.spend(a.length + b.length);
    return isMarkup ? new Markup(a + b) : a + b;
  }
  if (Array.isArray(left) && Array.isArray(right)) {
    budget.spend(left.length + right.length);
    return [...left, ...right];
  }
  if (!(left instanceof Tuple && right instanceof Tuple)) return undefined;
  budget.spend(left.items.length + right.items.length);
  return new Tuple([...left.items, ...right.items]);
}

function repeated(sequence: Value, count: number, budget: Budget): Value | undefined {
  if (typeof sequence === "string") {
    budget.spend(sequence.length * count);
    return sequence.repeat(sequence === "" ? 0 : count);
  }
  const items = Array.isArray(sequence) ? sequence : sequence instanceof Tuple ? sequence.items : undefined;
  if (items === undefined) return undefined;
  budget.spend(items.length * count);
  const all = Array.from({ length: items.length === 0 ? 0 : count }, () => items).flat();
  return Array.isArray(sequence) ? all : new Tuple(all);
}

/** `a == b` */
export function areEqual(a: Value, b: Value): boolean {
  const [left, right] = [asNumber(a), asNumber(b)];
  // biome-ignore lint/suspicious/noDoubleEquals: 1n == 1
  if (left !== undefined && right !== undefined) return left == right;
  if (a instanceof Markup || b instanceof Markup) {
    const isText = (value: Value) => typeof value === "string" || value instanceof Markup;
    return isText(a) && isText(b) && textOf(a) === textOf(b);
  }
  if (Array.isArray(a)) return Array.isArray(b) && areAllEqual(a, b);
  if (a instanceof Tuple) return b instanceof Tuple && areAllEqual(a.items, b.items);
  if (a instanceof Range) return b instanceof Range && areAllEqual(a.items(), b.items());
  if (a instanceof Undefined) return b instanceof Undefined;
  if (a instanceof Dict) {
    if (!(b instanceof Dict) || a.size !== b.size) return false;
    return a.entries().every(([key, value]) => b.has(key) && areEqual(value, b.get(key) as Value));
  }
  return a === b;
}

function areAllEqual(a: readonly Value[], b: readonly Value[]): boolean {
  return a.length === b.length && a.every((item, i) => areEqual(item, b[i]));
}

/** Below 0 if a comes before b. @throws JinjaError for values that Python does not order */
export function order(a: Value, b: Value, sign = "<"): number {
  for (const value of [a, b]) if (value instanceof Undefined) throw value.error();
  const [left, right] = [asNumber(a), asNumber(b)];
  if (left !== undefined && right !== undefined)
    return left < right ? -1 : left > right ? 1 : areEqual(left, right) ? 0 : Number.NaN;
  const isText = (value: Value) => typeof value === "string" || value instanceof Markup;
  if (isText(a) && isText(b)) return compareText(textOf(a), textOf(b));
  if (Array.isArray(a) && Array.isArray(b)) return orderItems(a, b, sign);
  if (a instanceof Tuple && b instanceof Tuple) return orderItems(a.items, b.items, sign);
  throw raised(`'${sign}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

function orderItems(a: readonly Value[], b: readonly Value[], sign: string): number {
  const different = a.findIndex((item, i) => i >= b.length || !areEqual(item, b[i]));
  if (different < 0 || different >= b.length) return a.length - b.length;
  return order(a[different], b[different], sign);
}

export function compare(operator: Comparison, left: Value, right: Value): boolean {
  switch (operator) {
    case "==":
      return areEqual(left, right);
    case "!=":
      return !areEqual(left, right);
    case "in":
      return contains(right, left);
    case "not in":
      return !contains(right, left);
    case "<":
      return order(left, right, operator) < 0;
    case "<=":
      return order(left, right, operator) <= 0;
    case ">":
      return order(left, right, operator) > 0;
    case ">=":
      return order(left, right, operator) >= 0;
  }
}

/** `item in container` */
function contains(container: Value, item: Value): boolean {
  if (typeof container === "string" || container instanceof Markup) {
    if (typeof item !== "string" && !(item instanceof Markup)) {
      if (item instanceof Undefined)
        throw raised(`'in <string>' requires string as left operand, not Undefined`);
      throw raised(`'in <string>' requires string as left operand, not ${typeName(item)}`);
    }
    return textOf(container).includes(textOf(item));
  }
  if (container instanceof Dict) return container.has(item);
  if (container instanceof DictView && container.kind === "keys") return container.dict.has(item);
  const items = container instanceof Callable ? undefined : itemsOf(container);
  if (items === undefined) throw raised(`argument of type '${typeName(container)}' is not iterable`);
  return items.some((other) => areEqual(other, item));
}

/** `sequence[begin:end:step]`; undefined if Python raises a TypeError, which Jinja2 takes for "not there". */
export function slice(sequence: Value, bounds: { begin: Value; end: Value; step: Value }): Value | undefined {
  const [begin, end, step] = [bounds.begin, bounds.end, bounds.step].map((bound) =>
    bound === null ? null : asInteger(bound),
  );
  if (begin === undefined || end === undefined || step === undefined) return undefined;
  if (step === 0) throw raised("slice step cannot be zero");
  if (typeof sequence === "string") return pick(characters(sequence), begin, end, step).join("");
  if (sequence instanceof Markup)
    return new Markup(pick(characters(sequence.text), begin, end, step).join(""));
  if (Array.isArray(sequence)) return pick(sequence, begin, end, step);
  if (sequence instanceof Tuple) return new Tuple(pick(sequence.items, begin, end, step));
  if (!(sequence instanceof Range)) return undefined;
  const indices = pick(
    Array.from({ length: sequence.length }, (_, i) => i),
    begin,
    end,
    step,
  );
  if (indices.length === 0) return new Range(sequence.start, sequence.start, sequence.step);
  const stride = sequence.step * BigInt(step ?? 1);
  const first = sequence.start + BigInt(indices[0]) * sequence.step;
  return new Range(first, first + BigInt(indices.length) * stride, stride);
}

function pick<Item>(
  items: readonly Item[],
  begin: number | null,
  end: number | null,
  step: number | null,
): Item[] {
  const stride = step ?? 1;
  const [low, high] = stride > 0 ? [0, items.length] : [-1, items.length - 1];
  const place = (bound: number) => Math.min(high, Math.max(low, bound < 0 ? bound + items.length : bound));
  const first = begin === null ? (stride > 0 ? low : high) : place(begin);
  const last = end === null ? (stride > 0 ? high : low) : place(end);
  const picked: Item[] = [];
  for (let at = first; stride > 0 ? at < last : at > last; at += stride) picked.push(items[at]);
  return picked;
}

/** `sequence[index]`, from the end if negative; undefined if there is none. */
export function at(sequence: Value, index: number): Value | undefined {
  const from = (length: number) => (index < 0 ? index + length : index);
  if (typeof sequence === "string") return characters(sequence)[from(lengthOf(sequence))];
  if (sequence instanceof Markup)
    return new Markup(characters(sequence.text)[from(lengthOf(sequence.text))] ?? "");
  if (Array.isArray(sequence)) return sequence[from(sequence.length)];
  if (sequence instanceof Tuple) return sequence.items[from(sequence.items.length)];
  if (sequence instanceof Range) return sequence.items()[from(sequence.length)];
  return undefined;
}

/** Sorted as Python does it: stable, also from the largest on. */
export function sorted(items: readonly Value[], key: (item: Value) => Value, reverse: boolean): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  keyed.sort((a, b) => (reverse ? order(b.key, a.key) : order(a.key, b.key)));
  return keyed.map(({ item }) => item);
}

/** `sum(…)` */
export function sumOf(items: readonly Value[], start: Value, budget: Budget): Value {
  if (typeof start === "string") throw raised("sum() can't sum strings [use ''.join(seq) instead]");
  return items.reduce((sum, item) => calculate("+", sum, item, budget), start);
}
