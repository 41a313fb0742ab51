import { raised, unsupported } from "./error.ts";
import { asInteger } from "./operators.ts";
import { Callable, Dict, iterate, Namespace, Range, typeName, Undefined, type Value } from "./values.ts";

/** Jinja2's global functions. `cycler`, `joiner`, `lipsum` and `self` are refused. */
export const globals: Readonly<Record<string, Value>> = {
  range: new Callable("range", (bounds, named) => {
    if (named.size > 0) throw raised("range() takes no keyword arguments");
    const [first, second, step] = bounds.map((bound) => {
      const whole = asInteger(bound);
      if (whole === undefined)
        throw raised(`'${typeName(bound)}' object cannot be interpreted as an integer`);
      return BigInt(whole);
    });
    if (first === undefined || bounds.length > 3) throw raised("range expected 1 to 3 arguments");
    return second === undefined ? new Range(0n, first, 1n) : new Range(first, second, step ?? 1n);
  }),
  dict: new Callable("dict", ([from], named) => new Dict([...pairs(from), ...named])),
  namespace: new Callable("namespace", ([from], named) => {
    const attributes = [...pairs(from), ...named].map(([name, value]) => [name as string, value] as const);
    return new Namespace(new Map(attributes));
  }),
  ...Object.fromEntries(
    ["cycler", "joiner", "lipsum", "self"].map((name) => [
      name,
      new Callable(name, () => {
        throw unsupported(`'${name}'`);
      }),
    ]),
  ),
};

function pairs(from: Value | undefined): (readonly [Value, Value])[] {
  if (from === undefined) return [];
  if (from instanceof Undefined) throw from.error();
  if (from instanceof Dict) return from.entries();
  return iterate(from).map((pair) => {
    const [key, value, ...more] = iterate(pair);
    if (value === undefined || more.length > 0)
      throw raised("dictionary update sequence element must have length 2");
    return [key, value];
  });
}
