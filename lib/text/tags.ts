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

/** White space as Python's `str.strip` sees it: unlike JavaScript's it holds U+001C to U+001F and U+0085, not U+FEFF. */
const space = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const surroundingSpace = new RegExp(`^${space}|${space}$`, "g");

/** `text` without white space at both ends. */
export function strip(text: string): string {
  return text.replace(surroundingSpace, "");
}
