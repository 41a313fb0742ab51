import type { Budget } from "./budget.ts";
import { raised, unsupported } from "./error.ts";
import { fixed, floatText } from "./numbers.ts";
import { representation, textOf } from "./representation.ts";
import { characters, lengthOf } from "./text.ts";
import { Dict, Tuple, typeName, Undefined, type Value } from "./values.ts";

/** What a width and a precision may be. */
const largestWidth = 10_000;

interface Layout {
  alternate: boolean;
  sign: "" | "+" | " ";
  precision: number | undefined;
}

const directive = /%(?:\(([^)]*)\))?([-+ #0]*)(\*|\d*)(?:\.(\*|\d*))?[hlL]?(.)?/gsu;

/** `format % values` */
export function formatPercent(format: string, values: Value, budget: Budget): string {
  const all = values instanceof Tuple ? values.items : [values];
  let used = 0;
  const next = (): Value => {
    if (used >= all.length) throw raised("not enough arguments for format string");
    return all[used++];
  };
  let named = false;
  const text = format.replace(directive, (_, key: string | undefined, flags: string, ...rest: unknown[]) => {
    const [width, precision, type] = rest as [string, string | undefined, string | undefined];
    if (type === undefined) throw raised("incomplete format");
    if (type === "%") return "%";
    if (width === "*" || precision === "*") throw unsupported("a width of * in a format");
    if (key !== undefined) {
      if (!(values instanceof Dict)) throw raised("format requires a mapping");
      named = true;
    }
    const value = key === undefined ? next() : (values as Dict).get(key);
    if (value === undefined) throw raised(`KeyError: ${key}`);
    const sign = flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
    const digits = precision === undefined ? undefined : bound(Number(precision || "0"));
    const written = percentValue(value, type, { alternate: flags.includes("#"), sign, precision: digits });
    const size = bound(Number(width || "0"));
    budget.spend(size + written.length);
    if (flags.includes("-")) return pad(written, size, "<", " ");
    const isZeroed = flags.includes("0") && !"srac".includes(type);
    return pad(written, size, isZeroed ? "=" : ">", isZeroed ? "0" : " ");
  });
  if (used < all.length && !named && !(values instanceof Dict)) {
    throw raised("not all arguments converted during string formatting");
  }
  return text;
}

function percentValue(value: Value, type: string, layout: Layout): string {
  if ("sra".includes(type)) {
    if (type === "a") throw unsupported("%a in a format");
    const text = type === "s" ? textOf(value) : representation(value);
    return layout.precision === undefined ? text : characters(text).slice(0, layout.precision).join("");
  }
  if (value instanceof Undefined) throw value.error();
  if (type === "c") {
    if (typeof value === "bigint") return String.fromCodePoint(Number(value));
    if (typeof value === "string" && lengthOf(value) === 1) return value;
    throw raised("%c requires int or char");
  }
  const number = typeof value === "boolean" ? BigInt(value) : value;
  if (typeof number !== "bigint" && typeof number !== "number") {
    throw raised(`%${type} format: a real number is required, not ${typeName(value)}`);
  }
  if ("diu".includes(type)) {
    const whole = typeof number === "bigint" ? number : BigInt(Math.trunc(number));
    const digits = (whole < 0n ? -whole : whole).toString().padStart(layout.precision ?? 0, "0");
    return signed(digits, whole < 0n, layout.sign);
  }
  if ("xXo".includes(type)) {
    if (typeof number !== "bigint") throw raised(`%${type} format: an integer is required, not float`);
    return signed(inBase(number < 0n ? -number : number, type, layout.alternate), number < 0n, layout.sign);
  }
  if ("eEfFgG".includes(type)) return floatWith(Number(number), type, layout);
  throw raised(`unsupported format character '${type}'`);
}

function inBase(value: bigint, type: string, alternate: boolean): string {
  const base = { x: 16, X: 16, o: 8, b: 2 }[type] as number;
  const digits = (alternate ? `0${type.toLowerCase()}` : "") + value.toString(base);
  return type === "X" ? digits.toUpperCase() : digits;
}

function floatWith(value: number, type: string, { sign, precision = 6, alternate }: Layout): string {
  if (alternate) throw unsupported("# in the format of a float");
  const negative = value < 0 || Object.is(value, -0);
  const size = Math.abs(value);
  let text: string;
  const kind = type.toLowerCase();
  if (!Number.isFinite(size)) text = floatText(size);
  else if (kind === "f") text = fixed(size, precision);
  else if (kind === "e") text = exponential(size, precision);
  else text = general(size, precision === 0 ? 1 : precision);
  return signed(type === kind ? text : text.toUpperCase(), negative && !Number.isNaN(value), sign);
}

function exponential(size: number, precision: number): string {
  const [mantissa, exponent] = size.toExponential(precision).split("e");
  return `${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}

function general(size: number, precision: number): string {
  const exponent = size === 0 ? 0 : Number(size.toExponential(precision - 1).split("e")[1]);
  const withoutZeros = (text: string) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (exponent >= -4 && exponent < precision) return withoutZeros(fixed(size, precision - 1 - exponent));
  const [mantissa, power] = exponential(size, precision - 1).split("e");
  return `${withoutZeros(mantissa)}e${power}`;
}

function signed(digits: string, negative: boolean, sign: Layout["sign"]): string {
  return (negative ? "-" : sign) + digits;
}

function pad(text: string, width: number, align: string, fill: string): string {
  const missing = width - lengthOf(text);
  if (missing <= 0) return text;
  if (align === "<") return text + fill.repeat(missing);
  if (align === ">") return fill.repeat(missing) + text;
  if (align === "^") {
    const before = Math.floor(missing / 2);
    return fill.repeat(before) + text + fill.repeat(missing - before);
  }
  const head = /^[-+ ]?(?:0[xXobB])?/.exec(text)?.[0] ?? "";
  return head + fill.repeat(missing) + text.slice(head.length);
}

function bound(size: number): number {
  if (size > largestWidth) throw unsupported(`a width of more than ${largestWidth} in a format`);
  return size;
}

/** How a field of `str.format` finds its value: by place or by name, then by attributes and items. */
export interface Fields {
  positional: readonly Value[];
  named: ReadonlyMap<string, Value>;
  attribute: (value: Value, name: string) => Value;
  item: (value: Value, key: Value) => Value;
}

/** `format.format(…)` */
export function formatBraces(format: string, fields: Fields, budget: Budget): string {
  let counted = 0;
  const value = (field: string): Value => {
    const [, first, path] = /^([^.[]*)(.*)$/s.exec(field) as unknown as [string, string, string];
    const place = first === "" ? counted++ : /^\d+$/.test(first) ? Number(first) : undefined;
    let found = place === undefined ? fields.named.get(first) : fields.positional[place];
    if (found === undefined) {
      throw raised(
        place === undefined
          ? `KeyError: ${first}`
          : `Replacement index ${place} out of range for positional args tuple`,
      );
    }
    for (const [, name, key] of path.matchAll(/\.([^.[]+)|\[([^\]]+)\]/g)) {
      found =
        name !== undefined
          ? fields.attribute(found, name)
          : fields.item(found, /^\d+$/.test(key) ? BigInt(key) : key);
    }
    return found;
  };
  const piece = /\{\{|\}\}|\{([^{}!:]*)(?:!([sra]))?(?::((?:[^{}]|\{[^{}]*\})*))?\}|[{}]/g;
  return format.replace(piece, (all, field?: string, conversion?: string, nested = "") => {
    if (all === "{{" || all === "}}") return all[0];
    if (field === undefined) throw raised(`Single '${all[0]}' encountered in format string`);
    const found = value(field);
    const spec = nested.replace(/\{([^{}]*)\}/g, (_: string, inner: string) => textOf(value(inner)));
    if (conversion === "a") throw unsupported("!a in a format");
    const converted = conversion === "r" ? representation(found) : conversion === "s" ? textOf(found) : found;
    const text = formatValue(converted, spec);
    budget.spend(text.length);
    return text;
  });
}

const specification = /^(?:(.)?([<>=^]))?([-+ ])?(#)?(0)?(\d+)?([_,])?(?:\.(\d+))?([bcdeEfFgGnosxX%])?$/u;

/** `format(value, spec)` */
function formatValue(value: Value, spec: string): string {
  if (spec === "") return textOf(value);
  const match = specification.exec(spec);
  if (match === null) throw raised(`Invalid format specifier '${spec}'`);
  const [, fill, align, sign, alternate, zero, width, grouping, precision, type] = match;
  const size = bound(Number(width ?? 0));
  const number = typeof value === "boolean" && type !== undefined && type !== "s" ? BigInt(value) : value;
  const layout: Layout = {
    alternate: alternate !== undefined,
    sign: sign === "+" || sign === " " ? sign : "",
    precision: precision === undefined ? undefined : bound(Number(precision)),
  };
  if (typeof number === "bigint" || typeof number === "number") {
    const text = grouped(numberWith(number, type, layout), grouping);
    if (zero !== undefined && grouping !== undefined)
      throw unsupported("zeros and grouping together in a format");
    return pad(
      text,
      size,
      align ?? (zero === undefined ? ">" : "="),
      fill ?? (zero === undefined ? " " : "0"),
    );
  }
  if (typeof value !== "string")
    throw raised(`unsupported format string passed to ${typeName(value)}.__format__`);
  if (type !== undefined && type !== "s")
    throw raised(`Unknown format code '${type}' for object of type 'str'`);
  if (sign !== undefined || grouping !== undefined || align === "=")
    throw raised("Invalid format specifier for a str");
  const text = layout.precision === undefined ? value : characters(value).slice(0, layout.precision).join("");
  return pad(text, size, align ?? "<", fill ?? (zero === undefined ? " " : "0"));
}

function numberWith(value: bigint | number, type: string | undefined, layout: Layout): string {
  if (type === "n" || type === "c") throw unsupported(`'${type}' in a format`);
  if (type === "%") return `${floatWith(Number(value) * 100, "f", layout)}%`;
  if (type !== undefined && "eEfFgG".includes(type)) return floatWith(Number(value), type, layout);
  if (typeof value === "bigint") {
    if (layout.precision !== undefined) throw raised("Precision not allowed in integer format specifier");
    const size = value < 0n ? -value : value;
    const digits =
      type === undefined || type === "d"
        ? size.toString()
        : type === "s"
          ? undefined
          : inBase(size, type, layout.alternate);
    if (digits === undefined) throw raised("Unknown format code 's' for object of type 'int'");
    return signed(digits, value < 0n, layout.sign);
  }
  if (type !== undefined) throw raised(`Unknown format code '${type}' for object of type 'float'`);
  if (layout.precision !== undefined)
    throw unsupported("a precision without a type in the format of a float");
  return signed(floatText(Math.abs(value)), value < 0 || Object.is(value, -0), layout.sign);
}

function grouped(text: string, grouping: string | undefined): string {
  if (grouping === undefined) return text;
  return text.replace(/\d+/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, grouping));
}
