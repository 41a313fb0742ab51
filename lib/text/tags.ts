/** `plain`: `<think>…</think><answer>…</answer>`; `world-model`: with observation and prediction inside the think block. */
export type TurnFormat = "plain" | "world-model";

/** The tags of a turn, in the order in which they open. */
export const tagNames = ["think", "observation", "prediction", "answer"] as const;
export type TagName = (typeof tagNames)[number];

/** One tag found in a text, at the characters [begin, end). */
export interface Tag {
  name: TagName;
  closing: boolean;
  begin: number;
  end: number;
}

const patterns: Record<TurnFormat, RegExp> = {
  plain: /<(\/?)(think|answer)>/g,
  "world-model": /<(\/?)(think|observation|prediction|answer)>/g,
};

/**
 * Finds the tags that a format knows, spelled exactly. In the plain format `<observation>` and `<prediction>` are
 * ordinary text.
 */
export function scanTags(text: string, format: TurnFormat): Tag[] {
  return Array.from(text.matchAll(patterns[format]), (match) => ({
    name: match[2] as TagName,
    closing: match[1] === "/",
    begin: match.index,
    end: match.index + match[0].length,
  }));
}

const tagBehindBackslashes = /<(\\*\/?(?:think|observation|prediction|answer)>)/g;
const escapedTag = /<\\(\\*\/?(?:think|observation|prediction|answer)>)/g;

/**
 * Text as it may stand inside a block: a tag of the protocol gets a backslash behind its `<` (`<\answer>`), and one that has
 * backslashes there gets one more. Other text stays byte for byte; {@link unescapeTags} undoes it for any text.
 */
export function escapeTags(text: string): string {
  return text.replace(tagBehindBackslashes, "<\\$1");
}

/** The text that {@link escapeTags} was given. */
export function unescapeTags(text: string): string {
  return text.replace(escapedTag, "<$1");
}

/** White space as Python's `str.strip` sees it: unlike JavaScript's it holds U+001C to U+001F and U+0085, not U+FEFF. */
const space = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** `text` without white space at its end. */
export function stripEnd(text: string): string {
  let end = text.length;
  while (end > 0 && space.test(text[end - 1])) end--;
  return text.slice(0, end);
}

/** `text` without white space at both ends. */
export function strip(text: string): string {
  let begin = 0;
  while (begin < text.length && space.test(text[begin])) begin++;
  return stripEnd(text.slice(begin));
}
