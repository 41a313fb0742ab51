import { raised } from "./error.ts";
import { type Context, type Filter, filter, integer } from "./filter.ts";
import { areEqual, order, sorted, sumOf } from "./operators.ts";
import { textOf } from "./representation.ts";
import { characters } from "./text.ts";
import {
  Dict,
  DictView,
  isTrue,
  itemsOf,
  iterate,
  Lazy,
  Markup,
  sizeOf,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** Jinja2's filters of sequences and dicts. */
export const sequenceFilters: Readonly<Record<string, Filter>> = {
  list: filter("", (value, _, { budget }) => {
    const items = [...iterate(value)];
    budget.spend(items.length);
    return items;
  }),
  length: filter("", (value) => BigInt(sizeOf(value))),
  count: filter("", (value) => BigInt(sizeOf(value))),
  first: filter("", (value) => {
    const first = value instanceof Lazy ? value.next().value : iterate(value)[0];
    return first ?? (first === null ? null : new Undefined("No first item, sequence was empty."));
  }),
  last: filter("", (value) => {
    if (value instanceof Lazy) throw raised("'generator' object is not reversible");
    const last = iterate(value).at(-1);
    return last === undefined ? new Undefined("No last item, sequence was empty.") : last;
  }),
  reverse: filter("", (value) => {
    if (typeof value === "string") return characters(value).reverse().join("");
    const items = itemsOf(value);
    if (items === undefined) throw raised("argument must be iterable");
    return value instanceof Lazy ? [...items].reverse() : new Lazy([...items].reverse());
  }),
  join: filter("d? attribute?", (value, [by, attribute], context) => {
    const get =
      attribute === undefined || attribute === null
        ? textOf
        : (item: Value) => textOf(getter(attribute, context)(item));
    const parts = iterate(value).map(get);
    const between = by === undefined ? "" : textOf(by);
    context.budget.spend(parts.reduce((sum, part) => sum + part.length + between.length, 0));
    return parts.join(between);
  }),
  sort: filter("reverse? case_sensitive? attribute?", (value, [reverse, sensitive, attribute], context) => {
    const items = iterate(value);
    context.budget.spend(items.length);
    const fold = isTrue(sensitive ?? false) ? same : ignoringCase;
    const parts = typeof attribute === "string" ? attribute.split(",") : [attribute ?? null];
    const gets = parts.map((part) => getter(part, context));
    return sorted(items, (item) => new Tuple(gets.map((get) => fold(get(item)))), isTrue(reverse ?? false));
  }),
  unique: filter("case_sensitive? attribute?", (value, [sensitive, attribute], context) => {
    const fold = isTrue(sensitive ?? false) ? same : ignoringCase;
    const get = getter(attribute ?? null, context);
    return new Lazy(distinct(value, (item) => fold(get(item))));
  }),
  min: filter("case_sensitive? attribute?", (value, args, context) => extreme(value, args, context, -1)),
  max: filter("case_sensitive? attribute?", (value, args, context) => extreme(value, args, context, 1)),
  sum: filter("attribute? start?", (value, [attribute, start], context) =>
    sumOf(iterate(value).map(getter(attribute ?? null, context)), start ?? 0n, context.budget),
  ),
  dictsort: filter("case_sensitive? by? reverse?", (value, [sensitive, by, reverse]) => {
    const place = { key: 0, value: 1 }[typeof by === "string" ? by : "key"];
    if (place === undefined) throw raised("You can only sort by either 'key' or 'value'");
    if (!(value instanceof Dict)) throw notMapping(value);
    const fold = isTrue(sensitive ?? false) ? same : ignoringCase;
    const pairs = value.entries().map((entry) => new Tuple(entry));
    return sorted(pairs, (pair) => fold((pair as Tuple).items[place]), isTrue(reverse ?? false));
  }),
  items: filter("", (value) => {
    if (value instanceof Undefined) return new Lazy([]);
    if (value instanceof Dict) return new Lazy(new DictView(value, "items").items());
    return new Lazy(failing(() => raised("Can only get item pairs from a mapping.")));
  }),
  batch: filter("linecount fill_with?", (value, [size, fill], { budget }) => {
    const items = iterate(value);
    const width = integer(size, 0);
    const rows: Value[][] = [];
    for (let i = 0; i < items.length; i += Math.max(1, width))
      rows.push(items.slice(i, i + Math.max(1, width)));
    const last = rows.at(-1);
    if (last !== undefined && fill !== undefined && fill !== null && last.length < width) {
      budget.spend(width);
      last.push(...Array.from({ length: width - last.length }, () => fill));
    }
    return new Lazy(rows);
  }),
  slice: filter("slices fill_with?", (value, [count, fill], { budget }) => {
    const items = iterate(value);
    const slices = integer(count, 0);
    budget.spend(Math.max(0, slices));
    if (slices === 0) throw raised("integer division or modulo by zero");
    const each = Math.floor(items.length / slices);
    const longer = items.length % slices;
    return new Lazy(
      Array.from({ length: Math.max(0, slices) }, (_, i) => {
        const begin = i * each + Math.min(i, longer);
        const row = items.slice(begin, begin + each + (i < longer ? 1 : 0));
        return fill !== undefined && fill !== null && i >= longer ? [...row, fill] : row;
      }),
    );
  }),
  groupby: filter(
    "attribute default? case_sensitive?",
    (value, [attribute, otherwise, sensitive], context) => {
      const get = getter(attribute as Value, context, otherwise);
      const fold = isTrue(sensitive ?? false) ? same : ignoringCase;
      const groups: { key: Value; items: Value[] }[] = [];
      for (const item of sorted(iterate(value), (one) => fold(get(one)), false)) {
        const key = fold(get(item));
        const last = groups.at(-1);
        if (last !== undefined && areEqual(last.key, key)) last.items.push(item);
        else groups.push({ key, items: [item] });
      }
      return groups.map(({ items }) => new Tuple([get(items[0]), items], ["grouper", "list"]));
    },
  ),
  map: {
    parameters: "any",
    run: (value, positional, named, context) => new Lazy(mapped(value, positional, named, context)),
  },
  select: {
    parameters: "any",
    run: (...args) => new Lazy(selected(...args, { attribute: false, wanted: true })),
  },
  reject: {
    parameters: "any",
    run: (...args) => new Lazy(selected(...args, { attribute: false, wanted: false })),
  },
  selectattr: {
    parameters: "any",
    run: (...args) => new Lazy(selected(...args, { attribute: true, wanted: true })),
  },
  rejectattr: {
    parameters: "any",
    run: (...args) => new Lazy(selected(...args, { attribute: true, wanted: false })),
  },
};

function same(value: Value): Value {
  return value;
}

function ignoringCase(value: Value): Value {
  if (value instanceof Markup) return value.text.toLowerCase();
  return typeof value === "string" ? value.toLowerCase() : value;
}

/** Reads an attribute by its path (`"a.b"`, or an index), or the value itself if it is null. */
function getter(path: Value, context: Context, otherwise?: Value): (value: Value) => Value {
  if (path === null) return same;
  const keys =
    typeof path === "string" ? path.split(".").map((key) => (/^\d+$/.test(key) ? BigInt(key) : key)) : [path];
  return (value) => {
    let found = value;
    for (const key of keys) {
      found = context.item(found, key);
      if (found instanceof Undefined && otherwise !== undefined && otherwise !== null) found = otherwise;
    }
    return found;
  };
}

/** Items one after another, counted; a generator is not read ahead. */
function* each(value: Value, { budget }: Pick<Context, "budget">): Generator<Value> {
  if (!(value instanceof Lazy)) {
    const items = iterate(value);
    budget.spend(items.length);
    yield* items;
    return;
  }
  for (let next = value.next(); next.done !== true; next = value.next()) {
    budget.spend(1);
    yield next.value;
  }
}

function* mapped(
  value: Value,
  positional: readonly Value[],
  named: ReadonlyMap<string, Value>,
  context: Context,
): Generator<Value> {
  if (!isTrue(value)) return;
  let change: (item: Value) => Value;
  if (positional.length === 0 && named.has("attribute")) {
    const unknown = [...named.keys()].find((name) => name !== "attribute" && name !== "default");
    if (unknown !== undefined) throw raised(`Unexpected keyword argument '${unknown}'`);
    change = getter(named.get("attribute") as Value, context, named.get("default"));
  } else {
    const [name, ...rest] = positional;
    if (typeof name !== "string") throw raised("map requires a filter argument");
    change = (item) => context.applyFilter(name, item, rest, named);
  }
  for (const item of each(value, context)) yield change(item);
}

function* selected(
  value: Value,
  positional: readonly Value[],
  named: ReadonlyMap<string, Value>,
  context: Context,
  kind: { attribute: boolean; wanted: boolean },
): Generator<Value> {
  if (!isTrue(value)) return;
  if (kind.attribute && positional.length === 0) throw raised("Missing parameter for attribute name");
  const get = kind.attribute ? getter(positional[0], context) : same;
  const [test, ...rest] = positional.slice(kind.attribute ? 1 : 0);
  for (const item of each(value, context)) {
    const one = get(item);
    const passes = test === undefined ? isTrue(one) : context.applyTest(textOf(test), one, rest, named);
    if (passes === kind.wanted) yield item;
  }
}

function* distinct(value: Value, key: (item: Value) => Value): Generator<Value> {
  const seen = new Dict();
  for (const item of iterate(value)) {
    const one = key(item);
    if (seen.has(one)) continue;
    seen.set(one, true);
    yield item;
  }
}

// biome-ignore lint/correctness/useYield: it fails when it is read, as in Jinja2
function* failing(error: () => Error): Generator<Value> {
  throw error();
}

function extreme(
  value: Value,
  [sensitive, attribute]: (Value | undefined)[],
  context: Context,
  sign: number,
): Value {
  const fold = isTrue(sensitive ?? false) ? same : ignoringCase;
  const get = getter(attribute ?? null, context);
  const key = (item: Value) => fold(get(item));
  const [first, ...others] = iterate(value);
  if (first === undefined) return new Undefined("No aggregated item, sequence was empty.");
  return others.reduce((best, item) => (order(key(item), key(best)) * sign > 0 ? item : best), first);
}

function notMapping(value: Value): Error {
  return raised(`'${typeName(value)}' object has no attribute 'items'`);
}
