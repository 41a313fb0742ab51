import { raised } from "./error.ts";
import type { Context } from "./filter.ts";
import { filters } from "./filters.ts";
import { calculate, compare } from "./operators.ts";
import { bindParameters } from "./parameters.ts";
import { textOf } from "./representation.ts";
import type { Comparison } from "./syntax.ts";
import { characters } from "./text.ts";
import {
  Callable,
  Dict,
  DictView,
  itemsOf,
  Lazy,
  Markup,
  Range,
  Tuple,
  Undefined,
  type Value,
} from "./values.ts";

type Test = { parameters: readonly string[]; run: (value: Value, other: Value, context: Context) => boolean };

const test = (run: (value: Value) => boolean): Test => ({ parameters: [], run });
const withOther = (parameter: string, run: Test["run"]): Test => ({ parameters: [parameter], run });
const comparison = (operator: Comparison): Test => withOther("other", (a, b) => compare(operator, a, b));
const remainder = (divisor: bigint, rest: bigint): Test => ({
  parameters: [],
  run: (value, _, { budget }) => compare("==", calculate("%", value, divisor, budget), rest),
});

const isText = (value: Value) => typeof value === "string" || value instanceof Markup;

/** Jinja2's tests. */
export const tests: Readonly<Record<string, Test>> = {
  defined: test((value) => !(value instanceof Undefined)),
  undefined: test((value) => value instanceof Undefined),
  none: test((value) => value === null),
  boolean: test((value) => typeof value === "boolean"),
  true: test((value) => value === true),
  false: test((value) => value === false),
  integer: test((value) => typeof value === "bigint"),
  float: test((value) => typeof value === "number"),
  number: test((value) => ["bigint", "number", "boolean"].includes(typeof value)),
  string: test(isText),
  mapping: test((value) => value instanceof Dict),
  sequence: test(
    (value) =>
      isText(value) ||
      Array.isArray(value) ||
      [Tuple, Dict, Range, Undefined].some((kind) => value instanceof kind),
  ),
  iterable: test(
    (value) => value instanceof Lazy || value instanceof DictView || itemsOf(value) !== undefined,
  ),
  callable: test((value) => value instanceof Callable || value instanceof Undefined),
  lower: test((value) => cased(value, "toLowerCase")),
  upper: test((value) => cased(value, "toUpperCase")),
  escaped: test((value) => value instanceof Markup),
  odd: remainder(2n, 1n),
  even: remainder(2n, 0n),
  divisibleby: withOther("num", (value, by, { budget }) =>
    compare("==", calculate("%", value, by, budget), 0n),
  ),
  sameas: withOther("other", (value, other) => value === other),
  in: withOther("seq", (value, items) => compare("in", value, items)),
  filter: test((value) => typeof value === "string" && Object.hasOwn(filters, value)),
  test: test((value) => typeof value === "string" && Object.hasOwn(tests, value)),
  ...Object.fromEntries(
    Object.entries({
      "==": ["eq", "equalto"],
      "!=": ["ne"],
      "<": ["lt", "lessthan"],
      "<=": ["le"],
      ">": ["gt", "greaterthan"],
      ">=": ["ge"],
    }).flatMap(([operator, names]) =>
      [operator, ...names].map((name) => [name, comparison(operator as Comparison)] as const),
    ),
  ),
};

/** Whether a value passes a test by its name. */
export function applyTest(
  name: string,
  value: Value,
  positional: readonly Value[],
  named: ReadonlyMap<string, Value>,
  context: Context,
): boolean {
  const found = Object.hasOwn(tests, name) ? tests[name] : undefined;
  if (found === undefined) throw raised(`No test named '${name}'.`);
  const [other = null] = bindParameters(name, found.parameters, positional, named);
  return found.run(value, other, context);
}

/** `str.islower` or `isupper`: there is a letter with case, and none of the other case. */
function cased(value: Value, change: "toLowerCase" | "toUpperCase"): boolean {
  const letters = characters(textOf(value)).filter((letter) => letter.toLowerCase() !== letter.toUpperCase());
  return letters.length > 0 && letters.every((letter) => letter === letter[change]());
}
