import { raised } from "./error.ts";
import { type Filter, filter, integer } from "./filter.ts";
import { formatPercent } from "./formatting.ts";
import { escapeHtml, jsonText, textOf } from "./representation.ts";
import { stringMethod } from "./string-methods.ts";
import { capitalize, characters, countText, lengthOf, replaceText, splitLines, stripText } from "./text.ts";
import { Dict, isTrue, iterate, Markup, sizeOf, Tuple, typeName, Undefined, type Value } from "./values.ts";

/** Jinja2's filters that make text, and transformers' tojson. */
export const textFilters: Readonly<Record<string, Filter>> = {
  upper: filter("", (value) => textOf(value).toUpperCase()),
  lower: filter("", (value) => textOf(value).toLowerCase()),
  capitalize: filter("", (value) => capitalize(textOf(value))),
  title: filter("", (value) =>
    textOf(value)
      .split(/([-\s({[<]+)/u)
      .map((word) => {
        const [first = "", ...rest] = characters(word);
        return first.toUpperCase() + rest.join("").toLowerCase();
      })
      .join(""),
  ),
  trim: filter("chars?", (value, [chars]) =>
    stripText(textOf(value), "both", chars === undefined || chars === null ? undefined : textOf(chars)),
  ),
  replace: filter("old new count?", (value, [old, by, count], { budget }) => {
    const [text, part, other] = [value, old as Value, by as Value].map(textOf);
    budget.spend(countText(text, part) * other.length);
    return replaceText(text, part, other, count === null ? -1 : integer(count, -1));
  }),
  string: filter("", (value) => (value instanceof Markup ? value : textOf(value))),
  escape: filter("", escapeHtml),
  e: filter("", escapeHtml),
  forceescape: filter("", (value) => escapeHtml(textOf(value))),
  safe: filter("", (value) => new Markup(textOf(value))),
  format: {
    parameters: "any",
    run: (value, positional, named, { budget }) => {
      if (positional.length > 0 && named.size > 0) {
        throw raised("can't handle positional and keyword arguments at the same time");
      }
      return formatPercent(textOf(value), named.size > 0 ? new Dict(named) : new Tuple(positional), budget);
    },
  },
  indent: filter("width? first? blank?", (value, [width, first, blank], { budget }) => {
    const by =
      typeof width === "string" ? width : " ".repeat(Math.max(0, Math.min(integer(width, 4), 10_000)));
    const lines = splitLines(`${textIn(value)}\n`);
    budget.spend(lines.length * by.length);
    const inBlank = isTrue(blank ?? false);
    const indented = lines.map((line, i) => (i > 0 && (inBlank || line !== "") ? by + line : line));
    return (isTrue(first ?? false) ? by : "") + indented.join("\n");
  }),
  center: filter("width?", (value, [width], { budget }) => {
    const centred = stringMethod(textOf(value), "center", budget);
    return (centred as NonNullable<typeof centred>)([width ?? 80n], new Map());
  }),
  truncate: filter("length? killwords? end? leeway?", (value, [length, kill, end, leeway]) => {
    if (!isText(value) && sizeOf(value) <= integer(length, 255)) return value;
    const text = textIn(value);
    const ending = end === undefined ? "..." : textOf(end);
    const most = integer(length, 255);
    if (most < lengthOf(ending)) throw raised(`expected length >= ${lengthOf(ending)}, got ${most}`);
    if (lengthOf(text) <= most + integer(leeway === null ? undefined : leeway, 5)) return text;
    const kept = characters(text)
      .slice(0, most - lengthOf(ending))
      .join("");
    if (isTrue(kill ?? false)) return kept + ending;
    const blank = kept.lastIndexOf(" ");
    return (blank < 0 ? kept : kept.slice(0, blank)) + ending;
  }),
  wordcount: filter("", (value) => BigInt(textOf(value).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0)),
  urlencode: filter("", (value) => {
    if (typeof value === "string" || !isPairs(value)) return percentEncode(textOf(value), "/");
    const pairs = value instanceof Dict ? value.entries() : iterate(value).map((pair) => iterate(pair));
    return pairs
      .map((pair) => pair.map((part) => percentEncode(textOf(part), "").replaceAll("%20", "+")).join("="))
      .join("&");
  }),
  xmlattr: filter("autospace?", (value, [space]) => {
    if (!(value instanceof Dict)) throw raised(`'${typeName(value)}' object has no attribute 'items'`);
    const pairs = value.entries().filter(([, one]) => one !== null && !(one instanceof Undefined));
    const written = pairs.map(([key, one]) => {
      if (/[\s/>=]/.test(textOf(key))) throw raised(`Invalid character in attribute name: '${textOf(key)}'`);
      return `${escapeHtml(key).text}="${escapeHtml(one).text}"`;
    });
    return (isTrue(space ?? true) && written.length > 0 ? " " : "") + written.join(" ");
  }),
  tojson: filter("ensure_ascii? indent? separators? sort_keys?", (value, args, { budget }) => {
    const [ensureAscii, indent, separators, sortKeys] = args;
    const [comma, colon] = separators === undefined || separators === null ? [] : iterate(separators);
    const text = jsonText(value, {
      ensureAscii: isTrue(ensureAscii ?? false),
      indent: jsonIndent(indent),
      separators: comma === undefined ? null : [textOf(comma), textOf(colon)],
      sortKeys: isTrue(sortKeys ?? false),
    });
    budget.spend(text.length);
    return text;
  }),
};

function isText(value: Value): boolean {
  return typeof value === "string" || value instanceof Markup;
}

/** A text's own characters, of what must be one. */
function textIn(value: Value): string {
  if (value instanceof Undefined) throw value.error();
  if (!isText(value)) throw raised(`a str is needed, not ${typeName(value)}`);
  return textOf(value);
}

function jsonIndent(indent: Value | undefined): string | null {
  if (indent === undefined || indent === null) return null;
  if (typeof indent === "string") return indent;
  return " ".repeat(Math.max(0, Math.min(integer(indent, 0), 1000)));
}

function isPairs(value: Value): boolean {
  return value instanceof Dict || Array.isArray(value) || value instanceof Tuple;
}

function percentEncode(text: string, safe: string): string {
  const bytes = new TextEncoder().encode(text);
  return Array.from(bytes, (byte) => {
    const character = String.fromCharCode(byte);
    return /[\w.~-]/.test(character) || safe.includes(character)
      ? character
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }).join("");
}
