import type { Budget } from "./budget.ts";
import { raised, unsupported } from "./error.ts";
import { formatBraces } from "./formatting.ts";
import { areEqual, asInteger, at } from "./operators.ts";
import { bindParameters } from "./parameters.ts";
import { stringMethod } from "./string-methods.ts";
import {
  Callable,
  Dict,
  DictView,
  Markup,
  Namespace,
  Range,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

type Method = (positional: Value[], named: ReadonlyMap<string, Value>) => Value;

/** Methods that change what they belong to: transformers' sandbox forbids them. */
const changing: Readonly<Record<string, ReadonlySet<string>>> = {
  list: new Set(["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"]),
  dict: new Set(["clear", "pop", "popitem", "setdefault", "update"]),
};

/** What else Python's values have, and this engine has not. */
const missing: Readonly<Record<string, ReadonlySet<string>>> = {
  str: new Set(["encode", "format_map", "maketrans"]),
  dict: new Set(["fromkeys"]),
  dict_keys: new Set(["isdisjoint", "mapping"]),
  dict_values: new Set(["mapping"]),
  dict_items: new Set(["isdisjoint", "mapping"]),
  generator: new Set(["close", "send", "throw", "gi_code", "gi_frame", "gi_running", "gi_yieldfrom"]),
  int: new Set(["as_integer_ratio", "bit_count", "bit_length", "conjugate", "from_bytes", "to_bytes"]),
  bool: new Set(["as_integer_ratio", "bit_count", "bit_length", "conjugate", "from_bytes", "to_bytes"]),
  float: new Set(["as_integer_ratio", "conjugate", "fromhex", "hex"]),
};

/** `value.name`: an attribute or method, else the item with that key, else undefined. */
export function attribute(value: Value, name: string, budget: Budget): Value {
  if (value instanceof Undefined) throw value.error();
  if (value instanceof Dict && !methodNames.has(name) && value.has(name)) return value.get(name) as Value;
  const found = ownAttribute(value, name, budget);
  if (found !== undefined) return found;
  const entry = value instanceof Dict ? value.get(name) : undefined;
  return entry === undefined ? notThere(value, name) : entry;
}

/** `value[key]`: an item, else for a text the attribute with that name, else undefined. */
export function item(value: Value, key: Value, budget: Budget): Value {
  if (value instanceof Undefined) throw value.error();
  let found: Value | undefined;
  if (value instanceof Dict) found = value.get(key);
  else {
    const index = asInteger(key);
    if (index !== undefined) found = at(value, index);
  }
  if (found === undefined && typeof key === "string") found = ownAttribute(value, key, budget);
  return found === undefined ? notThere(value, key) : found;
}

const methodNames: ReadonlySet<string> = new Set([
  ...["get", "items", "keys", "values", "copy", "fromkeys"],
  ...(changing.dict as Set<string>),
]);

/** What belongs to a value itself, whatever items it has. */
export function ownAttribute(value: Value, name: string, budget: Budget): Value | undefined {
  if (/^__\w+__$/.test(name))
    return new Undefined(`access to attribute '${name}' of a ${typeName(value)} is unsafe.`);
  if (value instanceof Namespace) return value.attributes.get(name);
  if (value instanceof Callable) return value.attributes(name);
  if (value instanceof Markup) {
    throw unsupported(`'${name}' of text that was escaped or marked as safe`);
  }
  const type = typeName(value);
  const method = methodOf(value, type, name, budget);
  if (method !== undefined) return new Callable(name, method);
  if (value instanceof Range && (name === "start" || name === "stop" || name === "step")) return value[name];
  if (value instanceof Tuple && value.names.includes(name)) return value.items[value.names.indexOf(name)];
  const number = typeof value === "boolean" ? BigInt(value) : value;
  if (typeof number === "bigint" || typeof number === "number") {
    if (name === "real" || (name === "numerator" && typeof number === "bigint")) return number;
    if (name === "imag") return typeof number === "bigint" ? 0n : 0;
    if (name === "denominator" && typeof number === "bigint") return 1n;
  }
  if (missing[type]?.has(name)) throw unsupported(`'${name}' of a ${type}`);
  return undefined;
}

function methodOf(value: Value, type: string, name: string, budget: Budget): Method | undefined {
  if (changing[type]?.has(name)) {
    return () => {
      throw raised(`the sandbox of chat templates forbids '${name}', which changes a ${type}`);
    };
  }
  if (typeof value === "string") {
    if (name !== "format") return stringMethod(value, name, budget);
    return (positional, named) => {
      const access = {
        attribute: (of: Value, key: string) => attribute(of, key, budget),
        item: (of: Value, key: Value) => item(of, key, budget),
      };
      return formatBraces(value, { positional, named, ...access }, budget);
    };
  }
  if (value instanceof Dict) return dictMethod(value, name);
  if (Array.isArray(value) && name === "copy") return () => [...value];
  if (typeof value === "number" && name === "is_integer") return () => Number.isInteger(value);
  const items = Array.isArray(value) ? value : value instanceof Tuple ? value.items : undefined;
  if (items === undefined && !(value instanceof Range)) return undefined;
  return sequenceMethod(items ?? (value as Range).items(), name);
}

function sequenceMethod(items: readonly Value[], name: string): Method | undefined {
  if (name === "count") return ([of]) => BigInt(items.filter((one) => areEqual(one, of)).length);
  if (name !== "index") return undefined;
  return ([of]) => {
    const place = items.findIndex((one) => areEqual(one, of));
    if (place < 0) throw raised("x not in list");
    return BigInt(place);
  };
}

function dictMethod(dict: Dict, name: string): Method | undefined {
  switch (name) {
    case "get":
      return (positional, named) => {
        const [key, otherwise] = bindParameters("get", ["key", "default?", "/"], positional, named);
        const found = dict.get(key as Value);
        return found === undefined ? (otherwise ?? null) : found;
      };
    case "keys":
    case "values":
    case "items":
      return (positional, named) => {
        bindParameters(name, [], positional, named);
        return new DictView(dict, name);
      };
    case "copy":
      return () => new Dict(dict.entries());
  }
  return undefined;
}

export function notThere(value: Value, name: Value): Undefined {
  const type = value === null ? "None" : `${typeName(value)} object`;
  const what = typeof name === "string" ? `attribute '${name}'` : "such element";
  return new Undefined(`'${type}' has no ${what}`);
}
