import { notThere, ownAttribute } from "./attributes.ts";
import { raised, unsupported } from "./error.ts";
import { type Filter, filter, integer } from "./filter.ts";
import { parseFloatText, parseInteger, roundNumber } from "./numbers.ts";
import { asNumber } from "./operators.ts";
import { textOf } from "./representation.ts";
import { sequenceFilters } from "./sequence-filters.ts";
import { textFilters } from "./text-filters.ts";
import { isTrue, Markup, typeName, Undefined, type Value } from "./values.ts";

/** Filters of Jinja2 that no chat template was found to use. */
export const missingFilters: ReadonlySet<string> = new Set([
  ...["filesizeformat", "pprint", "random", "striptags", "urlize", "wordwrap"],
]);

const fallback = filter("default_value? boolean?", (value, [otherwise, boolean]) => {
  const isMissing = value instanceof Undefined || (isTrue(boolean ?? false) && !isTrue(value));
  return isMissing ? (otherwise === undefined ? "" : otherwise) : value;
});

/** Jinja2's filters, as transformers has them. */
export const filters: Readonly<Record<string, Filter>> = {
  ...textFilters,
  ...sequenceFilters,
  default: fallback,
  d: fallback,
  attr: filter("name", (value, [name], { budget }) => {
    if (value instanceof Undefined) throw value.error();
    return ownAttribute(value, textOf(name as Value), budget) ?? notThere(value, name as Value);
  }),
  abs: filter("", (value) => {
    const number = numeric(value, "abs");
    return number < 0 || Object.is(number, -0) ? -number : number;
  }),
  int: filter("default? base?", (value, [otherwise, base]) => {
    if (value instanceof Undefined) throw value.error();
    return toInteger(value, integer(base, 10)) ?? (otherwise === undefined ? 0n : otherwise);
  }),
  float: filter("default?", (value, [otherwise]) => {
    if (value instanceof Undefined) throw value.error();
    return toFloat(value) ?? (otherwise === undefined ? 0 : otherwise);
  }),
  round: filter("precision? method?", (value, [precision, method]) => {
    const digits = integer(precision, 0);
    const way = method === undefined ? "common" : textOf(method);
    if (way !== "common" && way !== "ceil" && way !== "floor")
      throw raised("method must be common, ceil or floor");
    const number = numeric(value, "round");
    if (way === "common") return roundNumber(number, digits);
    return Math[way](Number(number) * 10 ** digits) / 10 ** digits;
  }),
};

/** The error for a filter that there is not. */
export function unknownFilter(name: string): Error {
  return missingFilters.has(name)
    ? unsupported(`the filter '${name}'`)
    : raised(`No filter named '${name}'.`);
}

function numeric(value: Value, what: string): bigint | number {
  if (value instanceof Undefined) throw value.error();
  const number = asNumber(value);
  if (number === undefined) throw raised(`bad operand type for ${what}(): '${typeName(value)}'`);
  return number;
}

function toInteger(value: Value, base: number): bigint | undefined {
  const number = typeof value === "string" ? parseInteger(value, base) : asNumber(value);
  if (typeof number === "bigint") return number;
  const float = toFloat(value);
  return float === undefined || !Number.isFinite(float) ? undefined : BigInt(Math.trunc(float));
}

function toFloat(value: Value): number | undefined {
  if (typeof value === "string") return parseFloatText(value);
  if (value instanceof Markup) return parseFloatText(value.text);
  const number = asNumber(value);
  return number === undefined ? undefined : Number(number);
}
