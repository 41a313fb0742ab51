// Strings as Python has them: sequences of code points, with Python's idea of white space, lines and case.

const surrogate = /[\ud800-\udfff]/;

/** The code points of a string, as strings. */
export function characters(text: string): string[] {
  return surrogate.test(text) ? Array.from(text) : text.split("");
}

/** Length in code points. */
export function lengthOf(text: string): number {
  return surrogate.test(text) ? Array.from(text).length : text.length;
}

/** By code point, as Python orders strings. */
export function compareText(a: string, b: string): number {
  if (!surrogate.test(a) && !surrogate.test(b)) return a < b ? -1 : a > b ? 1 : 0;
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < left.length && i < right.length; i++) {
    const difference = (left[i].codePointAt(0) as number) - (right[i].codePointAt(0) as number);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/** `str.isspace` of one character: unlike JavaScript's \s it holds U+001C to U+001F and U+0085, not U+FEFF. */
export function isSpace(character: string): boolean {
  return /^[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$/.test(character);
}

/** `str.strip`, `lstrip` and `rstrip`: without white space, or without any of `chars`, at the ends. */
export function stripText(text: string, ends: "both" | "left" | "right", chars?: string): string {
  const stripped =
    chars === undefined
      ? isSpace
      : (
          (of) => (character: string) =>
            of.has(character)
        )(new Set(characters(chars)));
  const all = characters(text);
  let [begin, end] = [0, all.length];
  if (ends !== "right") while (begin < end && stripped(all[begin])) begin++;
  if (ends !== "left") while (end > begin && stripped(all[end - 1])) end--;
  return all.slice(begin, end).join("");
}

/** `str.splitlines`. */
export function splitLines(text: string, keepEnds = false): string[] {
  const lines: string[] = [];
  let begin = 0;
  for (const match of text.matchAll(/\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]/g)) {
    lines.push(text.slice(begin, keepEnds ? match.index + match[0].length : match.index));
    begin = match.index + match[0].length;
  }
  if (begin < text.length) lines.push(text.slice(begin));
  return lines;
}

/** Characters whose title case is neither their upper case nor the beginning of it. */
const titles = new Map(
  ["ǅǄǆ", "ǈǇǉ", "ǋǊǌ", "ǲǱǳ"].flatMap((all) => Array.from(all, (character) => [character, all[0]] as const)),
);

/** One character in title case. */
export function titleCharacter(character: string): string {
  const known = titles.get(character);
  if (known !== undefined) return known;
  // Georgian letters have capitals, but no title case.
  if (/[\u10d0-\u10ff]/.test(character)) return character;
  const [first, ...rest] = Array.from(character.toUpperCase());
  // Greek letters with an iota below are one character in title case.
  if (/[\u1f80-\u1fff]/.test(character) && rest.join("") === "Ι") {
    const code = character.codePointAt(0) as number;
    const title = { 8115: 0x1fbc, 8131: 0x1fcc, 8179: 0x1ffc }[code] ?? (code < 0x1fb0 ? code | 8 : code);
    return String.fromCodePoint(title);
  }
  return [first, ...rest.map((letter) => letter.toLowerCase())].join("");
}

/** `str.capitalize`. */
export function capitalize(text: string): string {
  const [first, ...rest] = characters(text);
  return first === undefined ? "" : titleCharacter(first) + rest.join("").toLowerCase();
}

/** `str.title`: a letter behind what is no letter is a capital, the others are small. */
export function titleText(text: string): string {
  let inside = false;
  return characters(text)
    .map((character) => {
      const isCased = character.toLowerCase() !== character.toUpperCase();
      const written = inside ? character.toLowerCase() : titleCharacter(character);
      inside = isCased;
      return written;
    })
    .join("");
}

/** `str.replace`: at most `count` times if that is not negative. An empty `old` stands between all characters. */
export function replaceText(text: string, old: string, by: string, count: number): string {
  if (count < 0) return old === "" ? ["", ...characters(text), ""].join(by) : text.split(old).join(by);
  const pieces: string[] = [];
  if (old === "") {
    const all = characters(text);
    for (let i = 0; i < count && i <= all.length; i++) pieces.push(by, all[i] ?? "");
    return pieces.join("") + all.slice(count).join("");
  }
  let begin = 0;
  for (let i = 0; i < count; i++) {
    const found = text.indexOf(old, begin);
    if (found < 0) break;
    pieces.push(text.slice(begin, found), by);
    begin = found + old.length;
  }
  return pieces.join("") + text.slice(begin);
}

/** How often a text stands in another, without overlaps. */
export function countText(text: string, part: string): number {
  return part === "" ? lengthOf(text) + 1 : text.split(part).length - 1;
}

/** `str.split` and `rsplit` with a separator or at white space (`undefined`); `limit` splits at most if not negative. */
export function splitText(
  text: string,
  separator: string | undefined,
  limit: number,
  fromRight: boolean,
): string[] {
  const pieces: string[] = [];
  if (separator !== undefined) {
    const all = text.split(separator);
    if (limit < 0 || all.length <= limit + 1) return all;
    const cut = fromRight ? all.length - limit : limit;
    return fromRight
      ? [all.slice(0, cut).join(separator), ...all.slice(cut)]
      : [...all.slice(0, cut), all.slice(cut).join(separator)];
  }
  const all = fromRight ? characters(text).reverse() : characters(text);
  let at = 0;
  while (at < all.length) {
    while (at < all.length && isSpace(all[at])) at++;
    if (at >= all.length) break;
    let end = at;
    if (limit >= 0 && pieces.length >= limit) end = all.length;
    else while (end < all.length && !isSpace(all[end])) end++;
    const piece = all.slice(at, end);
    pieces.push((fromRight ? piece.reverse() : piece).join(""));
    at = end;
  }
  return fromRight ? pieces.reverse() : pieces;
}
