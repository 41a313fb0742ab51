// The regular expressions of a tokenizer.json are Oniguruma's. Here they become JavaScript's, with the same matches.

import { type AST, RegExpParser, visitRegExpAST } from "@eslint-community/regexpp";
import { toRegExpDetails } from "oniguruma-to-es";
import { getFirstConsumedChar, type ReadonlyFlags } from "regexp-ast-analysis";
import { analyse } from "scslre";

/** Longer patterns are nobody's; how they are analysed takes time. */
const longestPattern = 20_000;

/** Oniguruma's \w, without what it takes for a word character only outside of brackets. */
const word = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
const wordAlone = `${word}²³¹¼-¾`;

const outsideClasses: Readonly<Record<string, string>> = {
  "\\w": `[${wordAlone}]`,
  "\\W": `[^${wordAlone}]`,
  "\\b": `(?:(?<=[${wordAlone}])(?![${wordAlone}])|(?<![${wordAlone}])(?=[${wordAlone}]))`,
  "\\B": `(?:(?<=[${wordAlone}])(?=[${wordAlone}])|(?<![${wordAlone}])(?![${wordAlone}]))`,
};
const insideClasses: Readonly<Record<string, string>> = {
  "\\w": word,
  "\\W": `[^${word}]`,
  "[:word:]": word,
  "[:^word:]": `[^${word}]`,
};

/** Patterns that were translated before; a process meets few. */
const translations = new Map<string, RegExp>();

/**
 * The same pattern in JavaScript, for `matchAll`.
 *
 * @throws Error saying what cannot be followed, or that a text could keep the pattern busy without end: alternatives and
 * repetitions that can take the same characters in several ways are tried in all of them when nothing fits.
 */
export function regExpOf(pattern: string): RegExp {
  const known = translations.get(pattern);
  if (known !== undefined) return known;
  if (pattern.length > longestPattern) throw new Error(`it is ${pattern.length} characters long`);
  const { pattern: source, flags, options } = toRegExpDetails(withWords(pattern), { accuracy: "strict" });
  if (options?.strategy || flags.includes("y")) throw new Error("it asks where the search began (\\G)");
  const translated = new RegExp(source, `${flags}g`);
  refuseBacktracking(translated);
  translations.set(pattern, translated);
  return translated;
}

/** Oniguruma's own notion of words in place of \w and \b, which translators take from elsewhere. */
function withWords(pattern: string): string {
  let depth = 0;
  let isFirst = false;
  const pieces = pattern.match(/\\[\s\S]|\(\?#[^)]*\)|\[:\^?[a-z]+:\]|\[\^?|[^\\[]/gi) ?? [];
  return pieces
    .map((piece) => {
      const wasFirst = isFirst;
      isFirst = piece === "[" || piece === "[^";
      if (isFirst) depth++;
      else if (piece === "]" && depth > 0 && !wasFirst) depth--;
      return (depth > 0 ? insideClasses : outsideClasses)[piece] ?? piece;
    })
    .join("");
}

/** A quantifier without its bounds, if it has any that differ. */
const isBounded = ({ min, max }: AST.Quantifier): boolean => min !== max && max < Number.POSITIVE_INFINITY;

function refuseBacktracking({ source, flags: letters }: RegExp): void {
  const parser = new RegExpParser();
  const flags = parser.parseFlags(letters);
  const quantifiers: AST.Quantifier[] = [];
  visitRegExpAST(parser.parsePattern(source, 0, source.length, flags), {
    onQuantifierEnter: (quantifier) => void quantifiers.push(quantifier),
  });
  const loops = quantifiers.filter(({ max, element }) => max > 1 && element.type.endsWith("Group"));
  if (loops.length === 0 && quantifiers.every(({ max }) => max < Number.POSITIVE_INFINITY)) return;

  const unclear = loops.find(({ element }) => !choosesByFirst(element, flags));
  if (unclear) throw backtracking(unclear.raw);
  // A few nested repetitions with bounds are as bad as many: they are judged as if they had none.
  const unbounded = quantifiers
    .filter(
      (inner) => isBounded(inner) && loops.some(({ start, end }) => start <= inner.start && inner.end <= end),
    )
    .sort((a, b) => b.element.end - a.element.end)
    .reduce(
      (text, { element, end, min }) => `${text.slice(0, element.end)}{${min},}${text.slice(end)}`,
      source,
    );
  for (const candidate of new Set([source, unbounded])) {
    // Matches that are begun anew at the next character are a search's usual work.
    const options = { maxReports: 1, reportTypes: { Move: false } };
    const [report] = analyse({ source: candidate, flags: letters }, options).reports;
    if (report) throw backtracking("startQuant" in report ? report.startQuant.raw : report.quant.raw);
  }
}

/** Whether the first character tells which of a repeated group's alternatives it is. */
function choosesByFirst(element: AST.Element, flags: ReadonlyFlags): boolean {
  const { alternatives = [] } = element as Partial<AST.Group>;
  const firsts = alternatives.map((alternative) => getFirstConsumedChar(alternative, "ltr", flags));
  const isAlone = ({ char, empty }: (typeof firsts)[number], i: number): boolean =>
    !empty && firsts.slice(i + 1).every((next) => char.isDisjointWith(next.char));
  return firsts.length < 2 || firsts.every(isAlone);
}

function backtracking(part: string): Error {
  return new Error(`${JSON.stringify(part)} can take a text in so many ways that it may never end`);
}
