import { raised, unsupported } from "./error.ts";
import { floatText } from "./numbers.ts";
import { Callable, Dict, DictView, Markup, Range, Tuple, typeName, Undefined, type Value } from "./values.ts";

/** `str(…)`: what printing a value gives. */
export function textOf(value: Value): string {
  if (typeof value === "string") return value;
  if (value instanceof Markup) return value.text;
  return value instanceof Undefined ? "" : representation(value);
}

/** `repr(…)` */
export function representation(value: Value): string {
  if (typeof value === "string") return quoted(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number") return floatText(value);
  if (typeof value === "boolean") return value ? "True" : "False";
  if (value === null) return "None";
  if (Array.isArray(value)) return `[${value.map(representation).join(", ")}]`;
  if (value instanceof Tuple) {
    return `(${value.items.map(representation).join(", ")}${value.items.length === 1 ? "," : ""})`;
  }
  if (value instanceof Dict) {
    return `{${value
      .entries()
      .map(([key, item]) => `${representation(key)}: ${representation(item)}`)
      .join(", ")}}`;
  }
  if (value instanceof DictView)
    return `dict_${value.kind}([${value.items().map(representation).join(", ")}])`;
  if (value instanceof Undefined) return "Undefined";
  if (value instanceof Markup) return `Markup(${quoted(value.text)})`;
  if (value instanceof Range) {
    const step = value.step === 1n ? "" : `, ${value.step}`;
    return `range(${value.start}, ${value.stop}${step})`;
  }
  if (value instanceof Callable && value.printed !== undefined) return value.printed();
  throw unsupported(`printing a ${typeName(value)}`);
}

const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}]/u;

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = Array.from(text, (character) => {
    if (character === quote || character === "\\") return `\\${character}`;
    if (character === " " || !unprintable.test(character)) return character;
    const named = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
    if (named !== undefined) return named;
    const code = character.codePointAt(0) as number;
    if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
    return code < 0x10000
      ? `\\u${code.toString(16).padStart(4, "0")}`
      : `\\U${code.toString(16).padStart(8, "0")}`;
  });
  return quote + escaped.join("") + quote;
}

export interface JsonStyle {
  ensureAscii: boolean;
  /** What a level is indented by; null writes one line. */
  indent: string | null;
  separators: readonly [string, string] | null;
  sortKeys: boolean;
}

/** Python's `json.dumps`, which writes ` ` behind commas and colons and leaves letters outside of ASCII as they are. */
export function jsonText(value: Value, style: JsonStyle, depth = 0): string {
  if (value === null) return "null";
  if (typeof value === "boolean") return String(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number") return jsonFloat(value);
  if (typeof value === "string") return jsonString(value, style.ensureAscii);
  if (value instanceof Markup) return jsonString(value.text, style.ensureAscii);
  const [comma, colon] = style.separators ?? [style.indent === null ? ", " : ",", ": "];
  const within = (open: string, items: string[], close: string): string => {
    if (items.length === 0 || style.indent === null) return open + items.join(comma) + close;
    const line = `\n${style.indent.repeat(depth)}`;
    return `${open}${line}${style.indent}${items.join(`${comma}${line}${style.indent}`)}${line}${close}`;
  };
  if (Array.isArray(value) || value instanceof Tuple) {
    const items = Array.isArray(value) ? value : value.items;
    return within(
      "[",
      items.map((item) => jsonText(item, style, depth + 1)),
      "]",
    );
  }
  if (value instanceof Dict) {
    const entries = value.entries().map(([key, item]) => [jsonKey(key), item] as const);
    if (style.sortKeys) entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    const items = entries.map(
      ([key, item]) => jsonString(key, style.ensureAscii) + colon + jsonText(item, style, depth + 1),
    );
    return within("{", items, "}");
  }
  throw raised(`Object of type ${typeName(value)} is not JSON serializable`);
}

function jsonKey(key: Value): string {
  if (typeof key === "string") return key;
  if (key === null) return "null";
  if (typeof key === "boolean" || typeof key === "bigint") return String(key);
  if (typeof key === "number") return jsonFloat(key);
  throw raised(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

function jsonFloat(value: number): string {
  if (Number.isFinite(value)) return floatText(value);
  return Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}

function jsonString(text: string, ensureAscii: boolean): string {
  const json = JSON.stringify(text);
  if (!ensureAscii) return json;
  return json.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "'": "&#39;",
  '"': "&#34;",
};

/** Text for HTML. */
export function escapeHtml(value: Value): Markup {
  return value instanceof Markup
    ? value
    : new Markup(textOf(value).replace(/[&<>'"]/g, (sign) => entities[sign]));
}
