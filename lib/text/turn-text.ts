import { SpaError } from "../errors.ts";
import { joinPieces, type TokenPiece } from "./conversation.ts";
import { Role } from "./roles.ts";
import type { Span } from "./spans.ts";
import { escapeTags, strip, type TurnFormat } from "./tags.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** The contents of a turn to be written. States and reasoning may hold any text: tags in them are escaped. */
interface TurnContent {
  format: TurnFormat;
  reasoning: string;
  actions: readonly string[];
  /** World-model format only. */
  observation?: string;
  prediction?: string;
  /** What stands between actions, with the spaces around it. Default `" || "`. */
  separator?: string;
}

/**
 * The spans of a well-formed turn, without the end token:
 * `<think><observation>…</observation>…<prediction>…</prediction></think><answer>Up || Left</answer>`, or
 * `<think>…</think><answer>…</answer>` in the plain format.
 *
 * @throws SpaError BAD_ARGUMENT if the world-model format lacks a state.
 */
export function writeTurn(content: TurnContent): Span[] {
  const { format, observation, reasoning, prediction, actions, separator = " || " } = content;
  const tag = (text: string): Span => ({ role: Role.tag, text });
  const thought: Span[] = reasoning === "" ? [] : [{ role: Role.reasoning, text: escapeTags(reasoning) }];
  if (format === "world-model") {
    if (observation === undefined || prediction === undefined) {
      throw new SpaError(
        "BAD_ARGUMENT",
        "writeTurn: the world-model format needs observation and prediction",
        {
          hint: "pass both states, or write the turn in the plain format",
        },
      );
    }
    thought.unshift(
      tag("<observation>"),
      { role: Role.observation, text: escapeTags(observation) },
      tag("</observation>"),
    );
    thought.push(
      tag("<prediction>"),
      { role: Role.prediction, text: escapeTags(prediction) },
      tag("</prediction>"),
    );
  }
  return [
    tag("<think>"),
    ...thought,
    tag("</think>"),
    tag("<answer>"),
    { role: Role.answer, text: actions.join(separator) },
    { role: Role.answerEnd, text: "</answer>" },
  ];
}

/**
 * The spans of a turn with the true states in place of what the agent wrote into observation and prediction; reasoning,
 * answer and tags stay. The states may hold any characters; tags of the protocol in them are escaped.
 *
 * @param spans a turn's spans, from {@link parseTurn} or {@link writeTurn}.
 * @param before the observation; null: what the agent wrote stays
 * @param after the prediction; null: what the agent wrote stays
 */
export function replaceStates(spans: readonly Span[], before: string | null, after: string | null): Span[] {
  const states: Partial<Record<Role, string | null>> = {
    [Role.observation]: before,
    [Role.prediction]: after,
  };
  return spans.map(({ role, text }) => {
    const state = states[role] ?? null;
    return { role, text: state === null ? text : escapeTags(state) };
  });
}

/**
 * Token ids and roles of spans, encoded span by span: no token crosses from one span to the next.
 *
 * @param endToken appended with the role `end`, if given.
 * @returns tokens and roles, both [n].
 */
export function encodeSpans(
  spans: readonly Span[],
  tokenizer: Pick<Tokenizer, "encode">,
  endToken?: number,
): TokenPiece {
  const pieces = spans.map(({ role, text }) => {
    const tokens = tokenizer.encode(text);
    return { tokens, roles: new Uint8Array(tokens.length).fill(role) };
  });
  if (endToken !== undefined) {
    pieces.push({ tokens: Int32Array.of(endToken), roles: Uint8Array.of(Role.end) });
  }
  return joinPieces(pieces);
}

/**
 * A state as observations and predictions are judged: without white space at its ends, and as it comes back from tokens
 * (UTF-8, which has no lone surrogates, behind a normaliser that composes characters).
 */
export function canonicalState(state: string): string {
  return strip(state.toWellFormed().normalize("NFC"));
}

/** Whether two state texts are the same in the sense of {@link canonicalState}. */
export function sameState(written: string, truth: string): boolean {
  return canonicalState(written) === canonicalState(truth);
}
