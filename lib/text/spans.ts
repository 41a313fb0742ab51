import { Role, roleNames } from "./roles.ts";
import { scanTags, strip, type TagName, type TurnFormat } from "./tags.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A piece of an assistant turn's text with one role. The spans of a turn, joined, are its text. */
export interface Span {
  role: Role;
  text: string;
}

const roleInside: Record<TagName, Role> = {
  think: Role.reasoning,
  observation: Role.observation,
  prediction: Role.prediction,
  answer: Role.answer,
};

/**
 * Cuts the text of an assistant turn into spans, well-formed or not.
 *
 * A tag opens its block wherever it stands; a closing tag of observation or prediction leads back to the think block if
 * one is open, any other closing tag leads out of all blocks. Text outside all blocks is `other`, or, if it is only
 * white space, belongs to the tag before it. Observation, prediction and answer get a span even if they are empty, so
 * that a state can be put in their place.
 */
export function spansOf(text: string, format: TurnFormat): Span[] {
  const spans: Span[] = [];
  let block: TagName | null = null;
  let thinking = false;
  let tagRole: Role = Role.tag;
  let at = 0;
  const addText = (end: number): void => {
    const piece = text.slice(at, end);
    if (piece === "" && (block === null || block === "think")) {
      return;
    }
    const outside = strip(piece) === "" ? tagRole : Role.other;
    spans.push({ role: block === null ? outside : roleInside[block], text: piece });
  };
  for (const tag of scanTags(text, format)) {
    addText(tag.begin);
    tagRole = tag.closing && tag.name === "answer" && block === "answer" ? Role.answerEnd : Role.tag;
    spans.push({ role: tagRole, text: text.slice(tag.begin, tag.end) });
    at = tag.end;
    if (tag.name === "think") {
      thinking = !tag.closing;
    }
    const inner = tag.name === "observation" || tag.name === "prediction";
    block = tag.closing ? (inner && thinking ? "think" : null) : tag.name;
  }
  addText(text.length);
  return spans;
}

/**
 * Which role a token takes that holds characters of several spans, first wins: a state, then the answer, then other
 * text, then tags. So loss on answers never touches a state, loss without states never touches one, and the first
 * letters of an action or a state are never lost to the tag before them.
 */
const precedence: readonly Role[] = [
  Role.observation,
  Role.prediction,
  Role.answer,
  Role.reasoning,
  Role.other,
  Role.answerEnd,
  Role.tag,
];
const rank = new Uint8Array(roleNames.length).fill(precedence.length);
precedence.forEach((role, index) => {
  rank[role] = index;
});

/** The tokens of a turn that are its text: those that end turns are none. */
export function textTokens(tokens: ArrayLike<number>, stopTokens: readonly number[]): number[] {
  const text: number[] = [];
  for (let i = 0; i < tokens.length; i++) if (!stopTokens.includes(tokens[i])) text.push(tokens[i]);
  return text;
}

/**
 * The role of every token of one assistant turn, from the tokens alone. Works on any token sequence: a truncated or
 * malformed turn is cut like a well-formed one ({@link spansOf}), and bytes that are no UTF-8 are text.
 *
 * @param tokens [n] the turn, from its first token (a forced `<think>` included) to its end token, if it has one.
 * @param stopTokens tokens that end a turn; wherever they stand their role is `end` and their text is not looked at.
 * @returns [n] roles. A token that straddles spans takes the role of its most telling part: observation or prediction,
 *   then answer, reasoning, other, `</answer>`, other tags. A token without text takes the role of the one before it.
 */
export function assignRoles(
  tokens: ArrayLike<number>,
  tokenizer: Tokenizer,
  format: TurnFormat,
  stopTokens: readonly number[],
): Uint8Array {
  // One character per byte: tags are ASCII, so they are found even where the bytes are no UTF-8.
  const content = tokenizer.bytes(textTokens(tokens, stopTokens));
  const spans = spansOf(Buffer.from(content).toString("latin1"), format);
  const roles = new Uint8Array(tokens.length);
  let span = 0; // the span that holds the next byte
  let left = spans[0]?.text.length ?? 0; // bytes of it that are still to come
  let previous: Role = Role.other;
  for (let i = 0; i < roles.length; i++) {
    if (stopTokens.includes(tokens[i])) {
      roles[i] = Role.end;
      continue;
    }
    let best: Role = previous;
    for (let size = tokenizer.bytesOf(tokens[i]).length, first = true; size > 0; first = false) {
      while (left === 0) {
        left = spans[++span].text.length;
      }
      const role = spans[span].role;
      best = first || rank[role] < rank[best] ? role : best;
      const taken = Math.min(size, left);
      size -= taken;
      left -= taken;
    }
    roles[i] = previous = best;
  }
  return roles;
}
