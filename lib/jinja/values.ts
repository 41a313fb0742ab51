import { type JinjaError, raised, unsupported } from "./error.ts";
import { characters } from "./text.ts";

// Python's values in JavaScript's: int is bigint, float is number, None is null, list is an array; the rest are classes.

export type Value =
  | string
  | bigint
  | number
  | boolean
  | null
  | Value[]
  | Undefined
  | Markup
  | Tuple
  | Dict
  | DictView
  | Range
  | Lazy
  | Namespace
  | Callable;

/** What is not there. Printing it gives nothing; using it raises. */
export class Undefined {
  readonly type = "Undefined";
  readonly #message: string;

  constructor(message: string) {
    this.#message = message;
  }

  /** What Jinja2 raises where it is used. */
  error(): JinjaError {
    return raised(this.#message);
  }
}

/** Text that is taken for HTML already. */
export class Markup {
  readonly type = "Markup";
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export class Tuple {
  readonly type = "tuple";
  readonly items: readonly Value[];
  /** Of named tuples: the names of the items. */
  readonly names: readonly string[];

  constructor(items: readonly Value[], names: readonly string[] = []) {
    this.items = items;
    this.names = names;
  }
}

/** A dict. Keys that are equal in Python are one key: 1, 1.0 and true. */
export class Dict {
  readonly type = "dict";
  readonly #entries = new Map<string, [Value, Value]>();

  constructor(entries: Iterable<readonly [Value, Value]> = []) {
    for (const [key, value] of entries) this.set(key, value);
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: Value): Value | undefined {
    return this.#entries.get(hashKey(key))?.[1];
  }

  has(key: Value): boolean {
    return this.#entries.has(hashKey(key));
  }

  set(key: Value, value: Value): void {
    const hash = hashKey(key);
    this.#entries.set(hash, [this.#entries.get(hash)?.[0] ?? key, value]);
  }

  entries(): [Value, Value][] {
    return [...this.#entries.values()];
  }

  keys(): Value[] {
    return this.entries().map(([key]) => key);
  }
}

export class DictView {
  readonly dict: Dict;
  readonly kind: "keys" | "values" | "items";

  constructor(dict: Dict, kind: DictView["kind"]) {
    this.dict = dict;
    this.kind = kind;
  }

  items(): Value[] {
    const entries = this.dict.entries();
    if (this.kind === "items") return entries.map((entry) => new Tuple(entry));
    return entries.map(([key, value]) => (this.kind === "keys" ? key : value));
  }
}

/** `range(…)`, at most as long as Jinja2's sandbox allows. */
export class Range {
  readonly type = "range";
  readonly start: bigint;
  readonly stop: bigint;
  readonly step: bigint;
  readonly length: number;

  constructor(start: bigint, stop: bigint, step: bigint) {
    if (step === 0n) throw raised("range() arg 3 must not be zero");
    const distance = step > 0n ? stop - start : start - stop;
    const size = step > 0n ? step : -step;
    const length = distance > 0n ? (distance + size - 1n) / size : 0n;
    if (length > 100_000n)
      throw raised("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
    [this.start, this.stop, this.step, this.length] = [start, stop, step, Number(length)];
  }

  items(): bigint[] {
    return Array.from({ length: this.length }, (_, i) => this.start + BigInt(i) * this.step);
  }
}

/** A generator: its items can be read once. */
export class Lazy {
  readonly type = "generator";
  readonly #items: Iterator<Value>;

  constructor(items: Iterable<Value>) {
    this.#items = items[Symbol.iterator]();
  }

  next(): IteratorResult<Value> {
    return this.#items.next();
  }
}

export class Namespace {
  readonly type = "Namespace";
  readonly attributes: Map<string, Value>;

  constructor(attributes: Map<string, Value>) {
    this.attributes = attributes;
  }
}

/** What a template can call: functions, methods, macros, and `loop` inside a recursive loop. */
export class Callable {
  readonly type = "function";
  readonly name: string;
  readonly call: (positional: Value[], named: ReadonlyMap<string, Value>) => Value;
  /** What else it has: of a macro its name and arguments, of `loop` index, first, last, … */
  readonly attributes: (name: string) => Value | undefined;
  /** How it is printed; what has none prints where it lies in memory in Python. */
  readonly printed: (() => string) | undefined;

  constructor(
    name: string,
    call: Callable["call"],
    attributes: Callable["attributes"] = () => undefined,
    printed?: () => string,
  ) {
    [this.name, this.call, this.attributes, this.printed] = [name, call, attributes, printed];
  }
}

/** Equal for keys that Python takes for the same. */
function hashKey(key: Value): string {
  if (typeof key === "string") return `s${key}`;
  if (key instanceof Markup) return `s${key.text}`;
  if (key === null) return "none";
  if (key instanceof Tuple) return `t${JSON.stringify(key.items.map(hashKey))}`;
  if (key instanceof Undefined) return "undefined";
  if (typeof key === "boolean") return `n${Number(key)}`;
  if (typeof key === "bigint") return `n${key}`;
  if (typeof key === "number") return `n${Number.isInteger(key) ? BigInt(key) : key}`;
  if (key instanceof Range || key instanceof Callable || key instanceof Lazy || key instanceof Namespace) {
    throw unsupported(`a ${typeName(key)} as the key of a dict`);
  }
  throw raised(`unhashable type: '${typeName(key)}'`);
}

/** A value's type, as Python calls it in its errors. */
export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  if (Array.isArray(value)) return "list";
  if (value instanceof DictView) return `dict_${value.kind}`;
  if (typeof value === "object") return value.type;
  return { string: "str", bigint: "int", number: "float", boolean: "bool" }[
    typeof value as "string" | "bigint" | "number" | "boolean"
  ];
}

export function isTrue(value: Value): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Undefined) return false;
  if (value instanceof Markup) return value.text !== "";
  if (value instanceof Tuple) return value.items.length > 0;
  if (value instanceof Dict) return value.size > 0;
  if (value instanceof DictView) return value.dict.size > 0;
  if (value instanceof Range) return value.length > 0;
  return typeof value === "object" && value !== null ? true : Boolean(value);
}

/** The items of something that can be iterated, or undefined if it cannot. A generator is read to its end. */
export function itemsOf(value: Value): readonly Value[] | undefined {
  if (typeof value === "string") return characters(value);
  if (Array.isArray(value)) return value;
  if (value instanceof Tuple) return value.items;
  if (value instanceof Dict) return value.keys();
  if (value instanceof DictView || value instanceof Range) return value.items();
  if (value instanceof Markup) return characters(value.text);
  if (value instanceof Undefined) return [];
  if (!(value instanceof Lazy)) return undefined;
  const items: Value[] = [];
  for (let next = value.next(); next.done !== true; next = value.next()) items.push(next.value);
  return items;
}

/** @throws JinjaError if the value cannot be iterated */
export function iterate(value: Value): readonly Value[] {
  const items = itemsOf(value);
  if (items === undefined) throw raised(`'${typeName(value)}' object is not iterable`);
  return items;
}

/** `len(…)` */
export function sizeOf(value: Value): number {
  if (value instanceof Lazy || value instanceof Callable)
    throw raised(`object of type '${typeName(value)}' has no len()`);
  const items = value instanceof Dict ? undefined : itemsOf(value);
  if (value instanceof Dict) return value.size;
  if (items === undefined) throw raised(`object of type '${typeName(value)}' has no len()`);
  return items.length;
}

const sizes = new WeakMap<object, number>();

/**
 * How much there is in a value: characters, items, and what is in them, counted as often as it appears. A list that holds
 * one list twice is twice as large, for that is what printing or comparing it takes.
 */
export function extentOf(value: Value): number {
  if (typeof value === "string") return value.length + 1;
  if (typeof value !== "object" || value === null) return 1;
  const known = sizes.get(value);
  if (known !== undefined) return known;
  let parts: readonly Value[] = [];
  if (Array.isArray(value)) parts = value;
  else if (value instanceof Tuple) parts = value.items;
  else if (value instanceof Dict) parts = value.entries().flat();
  else if (value instanceof DictView) parts = [value.dict];
  const extent = parts.reduce<number>((sum, part) => sum + extentOf(part), 1);
  sizes.set(value, extent);
  return extent;
}

/** A JavaScript value as a template sees it: objects are dicts, whole numbers are ints. */
export function toValue(value: unknown): Value {
  if (value === null || typeof value === "string" || typeof value === "boolean" || typeof value === "bigint")
    return value;
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(toValue);
  if (value instanceof Callable) return value;
  return new Dict(Object.entries(value as object).map(([key, entry]) => [key, toValue(entry)]));
}
