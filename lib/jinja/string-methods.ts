import type { Budget } from "./budget.ts";
import { raised } from "./error.ts";
import { asInteger } from "./operators.ts";
import { type Bound, bindParameters } from "./parameters.ts";
import {
  capitalize,
  characters,
  countText,
  isSpace,
  lengthOf,
  replaceText,
  splitLines,
  splitText,
  stripText,
  titleCharacter,
  titleText,
} from "./text.ts";
import { Dict, isTrue, iterate, Tuple, typeName, type Value } from "./values.ts";

interface Method {
  parameters: readonly string[];
  run: (text: string, args: Bound, budget: Budget) => Value;
}

const method = (parameters: string, run: Method["run"]): Method => ({
  parameters: parameters === "" ? [] : parameters.split(" "),
  run,
});

/** A method of a string, or undefined if Python's strings have none with the name, or this engine does not. */
export function stringMethod(
  text: string,
  name: string,
  budget: Budget,
): ((positional: readonly Value[], named: ReadonlyMap<string, Value>) => Value) | undefined {
  const found = Object.hasOwn(methods, name) ? methods[name] : undefined;
  if (found === undefined) return undefined;
  return (positional, named) => {
    budget.spend(text.length);
    return found.run(text, bindParameters(name, found.parameters, positional, named), budget);
  };
}

/** A test of all characters, of which there must be one. */
const every = (test: (character: string) => boolean) =>
  method("", (text) => text !== "" && characters(text).every(test));

const isDecimal = (character: string) => /^\p{Nd}$/u.test(character);
const isLetter = (character: string) => /^\p{L}$/u.test(character);
/** Digits, superscripts and circled digits: what Unicode gives the value of a digit. */
const isDigit = (character: string) =>
  isDecimal(character) ||
  /^[²³¹\u1369-\u1371\u19da\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247c\u2488-\u2490\u24ea\u24f5-\u24fd\u24ff\u2776-\u277e\u2780-\u2788\u278a-\u2792]$/.test(
    character,
  );
const isNumeric = (character: string) => /^\p{N}$/u.test(character);
const isUpper = (character: string) => /^\p{Uppercase}$/u.test(character);
const isLower = (character: string) => /^\p{Lowercase}$/u.test(character);
const isCased = (character: string) =>
  isUpper(character) || isLower(character) || /^\p{Lt}$/u.test(character);

const methods: Readonly<Record<string, Method>> = {
  upper: method("", (text) => text.toUpperCase()),
  lower: method("", (text) => text.toLowerCase()),
  casefold: method("", (text) => text.toLowerCase().replaceAll("ß", "ss").replaceAll("ς", "σ")),
  capitalize: method("", capitalize),
  title: method("", titleText),
  swapcase: method("", (text) =>
    characters(text)
      .map((character) => (isUpper(character) ? character.toLowerCase() : character.toUpperCase()))
      .join(""),
  ),
  strip: method("chars? /", (text, [chars]) => stripText(text, "both", charactersToStrip(chars))),
  lstrip: method("chars? /", (text, [chars]) => stripText(text, "left", charactersToStrip(chars))),
  rstrip: method("chars? /", (text, [chars]) => stripText(text, "right", charactersToStrip(chars))),
  split: method("sep? maxsplit?", (text, args) => split(text, args, false)),
  rsplit: method("sep? maxsplit?", (text, args) => split(text, args, true)),
  splitlines: method("keepends?", (text, [keepEnds]) => splitLines(text, isTrue(keepEnds ?? false))),
  partition: method("sep /", (text, [separator]) => partition(text, separator, "indexOf")),
  rpartition: method("sep /", (text, [separator]) => partition(text, separator, "lastIndexOf")),
  startswith: method("prefix start? end? /", (text, args) => hasAffix(text, "startsWith", args)),
  endswith: method("suffix start? end? /", (text, args) => hasAffix(text, "endsWith", args)),
  replace: method("old new count? /", (text, [old, by, count], budget) => {
    const [part, other] = [textArgument("replace", old), textArgument("replace", by)];
    budget.spend(countText(text, part) * other.length);
    return replaceText(text, part, other, count === undefined ? -1 : integerArgument(count));
  }),
  find: method("sub start? end? /", (text, args) => find(text, args, "indexOf")),
  rfind: method("sub start? end? /", (text, args) => find(text, args, "lastIndexOf")),
  index: method("sub start? end? /", (text, args) => found(find(text, args, "indexOf"))),
  rindex: method("sub start? end? /", (text, args) => found(find(text, args, "lastIndexOf"))),
  count: method("sub start? end? /", (text, [part, start, end]) =>
    BigInt(countText(within(text, start, end).text, textArgument("count", part))),
  ),
  join: method("iterable /", (text, [items], budget) => {
    const parts = iterate(items as Value).map((item, i) => {
      if (typeof item !== "string")
        throw raised(`sequence item ${i}: expected str instance, ${typeName(item)} found`);
      return item;
    });
    budget.spend(parts.reduce((sum, part) => sum + part.length + text.length, 0));
    return parts.join(text);
  }),
  center: method("width fillchar? /", (text, args, budget) => {
    const { fill, missing } = filling(text, args, budget);
    // Where Python puts the odd one.
    const width = missing + lengthOf(text);
    const before = Math.floor(missing / 2) + (missing & width & 1);
    return fill.repeat(before) + text + fill.repeat(missing - before);
  }),
  ljust: method("width fillchar? /", (text, args, budget) => {
    const { fill, missing } = filling(text, args, budget);
    return text + fill.repeat(missing);
  }),
  rjust: method("width fillchar? /", (text, args, budget) => {
    const { fill, missing } = filling(text, args, budget);
    return fill.repeat(missing) + text;
  }),
  zfill: method("width /", (text, [width], budget) => {
    const { missing } = filling(text, [width], budget);
    const sign = /^[-+]/.exec(text)?.[0] ?? "";
    return sign + "0".repeat(missing) + text.slice(sign.length);
  }),
  removeprefix: method("prefix /", (text, [prefix]) => {
    const part = textArgument("removeprefix", prefix);
    return text.startsWith(part) ? text.slice(part.length) : text;
  }),
  removesuffix: method("suffix /", (text, [suffix]) => {
    const part = textArgument("removesuffix", suffix);
    return part !== "" && text.endsWith(part) ? text.slice(0, -part.length) : text;
  }),
  expandtabs: method("tabsize?", (text, [size], budget) => {
    const width = size === undefined ? 8 : integerArgument(size);
    budget.spend(countText(text, "\t") * Math.max(0, width));
    let column = 0;
    return characters(text)
      .map((character) => {
        if (character === "\n" || character === "\r") column = 0;
        else if (character !== "\t") column++;
        else {
          const blanks = width > 0 ? width - (column % width) : 0;
          column += blanks;
          return " ".repeat(blanks);
        }
        return character;
      })
      .join("");
  }),
  translate: method("table /", (text, [table]) => {
    if (!(table instanceof Dict)) throw raised("translate() takes a dict here");
    return characters(text)
      .map((character) => {
        const to = table.get(BigInt(character.codePointAt(0) as number));
        if (to === null) return "";
        if (to === undefined) return character;
        return typeof to === "bigint" ? String.fromCodePoint(Number(to)) : textArgument("translate", to);
      })
      .join("");
  }),
  isdigit: every(isDigit),
  isdecimal: every(isDecimal),
  isnumeric: every(isNumeric),
  isalpha: every(isLetter),
  isalnum: every((character) => isLetter(character) || isNumeric(character)),
  isspace: every(isSpace),
  isupper: method(
    "",
    (text) => characters(text).some(isUpper) && !characters(text).some((c) => isCased(c) && !isUpper(c)),
  ),
  islower: method(
    "",
    (text) => characters(text).some(isLower) && !characters(text).some((c) => isCased(c) && !isLower(c)),
  ),
  istitle: method("", (text) => characters(text).some(isCased) && isTitle(text)),
  isascii: method("", (text) => /^[\x00-\x7f]*$/.test(text)),
  isidentifier: method("", (text) => /^[\p{XID_Start}_]\p{XID_Continue}*$/u.test(text)),
  isprintable: method("", (text) => !/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.test(text)),
};

function isTitle(text: string): boolean {
  let inside = false;
  return characters(text).every((character) => {
    const fits =
      !isCased(character) || (inside ? isLower(character) : character === titleCharacter(character));
    inside = isCased(character);
    return fits;
  });
}

function textArgument(name: string, value: Value | undefined): string {
  if (typeof value === "string") return value;
  throw raised(`${name}() argument must be str, not ${typeName(value ?? null)}`);
}

function integerArgument(value: Value): number {
  const integer = asInteger(value);
  if (integer === undefined) throw raised(`'${typeName(value)}' object cannot be interpreted as an integer`);
  return integer;
}

function charactersToStrip(chars: Value | undefined): string | undefined {
  if (chars === undefined || chars === null) return undefined;
  if (typeof chars !== "string") throw raised("strip arg must be None or str");
  return chars;
}

function split(text: string, [separator, limit]: Bound, fromRight: boolean): Value {
  if (separator === "") throw raised("empty separator");
  const by = separator === undefined || separator === null ? undefined : textArgument("split", separator);
  return splitText(text, by, limit === undefined ? -1 : integerArgument(limit), fromRight);
}

function partition(text: string, separator: Value | undefined, search: "indexOf" | "lastIndexOf"): Value {
  const by = textArgument("partition", separator);
  if (by === "") throw raised("empty separator");
  const place = text[search](by);
  if (place < 0) return new Tuple(search === "indexOf" ? [text, "", ""] : ["", "", text]);
  return new Tuple([text.slice(0, place), by, text.slice(place + by.length)]);
}

/** The part of a text between two indices in code points, and where it begins. */
function within(
  text: string,
  start: Value | undefined,
  end: Value | undefined,
): { text: string; offset: number; fits: boolean } {
  if ((start ?? null) === null && (end ?? null) === null) return { text, offset: 0, fits: true };
  const all = characters(text);
  const place = (bound: Value | undefined, otherwise: number) => {
    const index = bound === undefined || bound === null ? otherwise : integerArgument(bound);
    return Math.max(0, index < 0 ? index + all.length : index);
  };
  const [from, to] = [place(start, 0), Math.min(all.length, place(end, all.length))];
  return { text: all.slice(from, to).join(""), offset: from, fits: from <= to };
}

function hasAffix(text: string, test: "startsWith" | "endsWith", [affix, start, end]: Bound): boolean {
  const part = within(text, start, end);
  const affixes = affix instanceof Tuple ? affix.items : [affix as Value];
  return affixes.some((one) => {
    if (typeof one !== "string")
      throw raised(`${test.toLowerCase()} first arg must be str or a tuple of str, not ${typeName(one)}`);
    return part.fits && part.text[test](one);
  });
}

function find(text: string, [sub, start, end]: Bound, search: "indexOf" | "lastIndexOf"): bigint {
  const part = within(text, start, end);
  const place = part.fits ? part.text[search](textArgument("find", sub)) : -1;
  return place < 0 ? -1n : BigInt(part.offset + lengthOf(part.text.slice(0, place)));
}

function found(place: bigint): bigint {
  if (place < 0n) throw raised("substring not found");
  return place;
}

function filling(text: string, [width, fill]: Bound, budget: Budget): { fill: string; missing: number } {
  const missing = Math.max(0, integerArgument(width as Value) - lengthOf(text));
  budget.spend(missing);
  if (fill !== undefined && (typeof fill !== "string" || lengthOf(fill) !== 1)) {
    throw raised("The fill character must be exactly one character long");
  }
  return { fill: fill ?? " ", missing };
}
