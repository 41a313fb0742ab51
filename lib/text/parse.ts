import { actionSpellings } from "../../envs/actions.ts";
import { SpaError } from "../errors.ts";
import { Role } from "./roles.ts";
import { type Span, spansOf } from "./spans.ts";
import {
  scanTags,
  strip,
  stripEnd,
  type Tag,
  type TagName,
  type TurnFormat,
  tagNames,
  unescapeTags,
} from "./tags.ts";

/** Why a turn is invalid; docs/protocol.md explains each. */
export const invalidReasons = [
  "truncated", // the reply was cut off inside a block
  "unclosed-tag", // a block is never closed
  "nested-tag", // a tag opens inside a block that may not hold it
  "repeated-tag", // a block occurs twice
  "unmatched-tag", // a closing tag without its block
  "misplaced-tag", // blocks in the wrong order or place
  "missing-answer",
  "missing-think",
  "missing-observation",
  "missing-prediction",
  "empty-answer", // nothing between the answer tags but separators
  "unknown-action", // some action is none of the environment's; the others are executed
  "misplaced-reasoning", // text in the think block before the observation or behind the prediction
  "text-outside-tags", // text before, between or behind the blocks
] as const;
export type InvalidReason = (typeof invalidReasons)[number];

/** What a reply must look like, and which actions there are. */
export interface ParseOptions {
  format: TurnFormat;
  /** Names that are matched exactly, or else without regard to case; empty: any text is an action, unless `parseAction` is given. */
  actions: readonly string[];
  /** The environment's own reading of an action: its canonical spelling, or null (or nothing). Used instead of `actions`. */
  parseAction?: ((text: string) => string | null | undefined) | undefined;
  /** Actions beyond this number are dropped. Default: no limit. */
  maxActions?: number | undefined;
  /** What stands between actions. Default `"||"`. */
  separator?: string | undefined;
  /** False if the reply was cut by a limit rather than ended by the model. Default true. */
  finished?: boolean | undefined;
}

/** A reply, read. */
export interface ParsedTurn {
  /** Costs no format penalty: the form is right and every action is known. */
  valid: boolean;
  /** Only if not valid: the first fault found. */
  reason?: InvalidReason;
  /** What to execute, in the environment's spelling. Empty if the structure of the reply is broken. */
  actions: string[];
  /** Entries of the answer (within the limit) that name no action. */
  unknownActions: string[];
  /** How many entries stood beyond the limit. */
  droppedActions: number;
  /**
   * Text of the blocks without white space at its ends, states as the environment writes them (`escapeTags` undone); absent
   * if the structure is broken or has no such block.
   */
  observation?: string;
  prediction?: string;
  answer?: string;
  /** All text of the think block that is neither observation nor prediction; empty if there is none. */
  reasoning: string;
  /** The reply in pieces; joined they are its text. */
  spans: Span[];
}

/** End tokens of the model families, where a caller passes the decoded turn with its last token. */
const endMarkers = ["<|im_end|>", "<|eot_id|>", "<|endoftext|>"];

/**
 * Reads the reply of one turn, with or without its end token. Never throws, whatever the text, but for a `parseAction` that
 * breaks its environment's contract (BAD_ENVIRONMENT).
 *
 * A reply whose structure is broken (tags missing, repeated, nested, in the wrong place) executes nothing. A reply whose
 * structure is sound but that holds unknown actions or stray text is invalid too, but its known actions are executed.
 */
export function parseTurn(text: string, options: ParseOptions): ParsedTurn {
  const { content, ends } = cutEndMarkers(text);
  if (ends.length === 0) return parseContent(content, options);
  const { spans, ...turn } = parseContent(content, { ...options, finished: true });
  return { ...turn, spans: [...spans, ...ends] };
}

/** A reply without the end tokens behind it, and these, each with the white space that follows it. */
function cutEndMarkers(text: string): { content: string; ends: Span[] } {
  const ends: Span[] = [];
  for (let content = text; ; ) {
    const stripped = stripEnd(content);
    const marker = endMarkers.find((candidate) => stripped.endsWith(candidate));
    if (marker === undefined) return { content, ends: ends.reverse() };
    const begin = stripped.length - marker.length;
    ends.push({ role: Role.end, text: content.slice(begin) });
    content = content.slice(0, begin);
  }
}

function parseContent(text: string, options: ParseOptions): ParsedTurn {
  const { format, finished = true } = options;
  const tags = scanTags(text, format);
  const spans = spansOf(text, format);
  const reasoning = spans.filter((span) => span.role === Role.reasoning);
  const result: ParsedTurn = {
    valid: false,
    actions: [],
    unknownActions: [],
    droppedActions: 0,
    reasoning: unescapeTags(strip(reasoning.map((span) => span.text).join(""))),
    spans,
  };
  const broken = structureFault(tags, format, finished);
  if (broken !== null) {
    return { ...result, reason: broken };
  }
  const textOf = (role: Role): string => strip(spans.find((span) => span.role === role)?.text ?? "");
  result.answer = textOf(Role.answer);
  if (format === "world-model") {
    result.observation = unescapeTags(textOf(Role.observation));
    result.prediction = unescapeTags(textOf(Role.prediction));
  }
  const entries = readActions(result.answer, options);
  Object.assign(result, entries);
  const fault = contentFault(text, tags, result);
  return fault === null ? { ...result, valid: true } : { ...result, reason: fault };
}

/** The first way in which the tags break the format's structure, or null. */
function structureFault(tags: readonly Tag[], format: TurnFormat, finished: boolean): InvalidReason | null {
  const open: TagName[] = [];
  const seen = new Set<TagName>();
  for (const tag of tags) {
    const fault = tag.closing ? closingFault(tag.name, open) : openingFault(tag.name, open, seen);
    if (fault !== null) {
      return fault;
    }
    if (tag.closing) {
      open.pop();
    } else {
      open.push(tag.name);
      seen.add(tag.name);
    }
  }
  if (open.length > 0) {
    return finished ? "unclosed-tag" : "truncated";
  }
  const needed: TagName[] =
    format === "plain" ? ["answer", "think"] : ["answer", "think", "observation", "prediction"];
  const missing = needed.find((name) => !seen.has(name));
  if (missing === undefined) {
    return null;
  }
  return finished ? `missing-${missing}` : "truncated";
}

function openingFault(
  name: TagName,
  open: readonly TagName[],
  seen: ReadonlySet<TagName>,
): InvalidReason | null {
  const inThink = name === "observation" || name === "prediction";
  const parent = open.at(-1);
  if (open.includes(name) || (parent !== undefined && !(parent === "think" && inThink))) {
    return "nested-tag";
  }
  if (seen.has(name)) {
    return "repeated-tag";
  }
  const laterSeen = tagNames.slice(tagNames.indexOf(name) + 1).some((later) => seen.has(later));
  return laterSeen || (inThink && parent === undefined) ? "misplaced-tag" : null;
}

function closingFault(name: TagName, open: readonly TagName[]): InvalidReason | null {
  if (open.at(-1) === name) {
    return null;
  }
  return open.includes(name) ? "unclosed-tag" : "unmatched-tag";
}

/** Faults of a reply whose structure is sound, or null. */
function contentFault(text: string, tags: readonly Tag[], turn: ParsedTurn): InvalidReason | null {
  if (turn.actions.length === 0 && turn.unknownActions.length === 0) {
    return "empty-answer";
  }
  if (turn.unknownActions.length > 0) {
    return "unknown-action";
  }
  const blank = (begin: number, end: number): boolean => strip(text.slice(begin, end)) === "";
  const after = (name: TagName, closing: boolean): number =>
    tags.findIndex((tag) => tag.name === name && tag.closing === closing);
  const gapBehind = (index: number): boolean => blank(tags[index].end, tags[index + 1]?.begin ?? text.length);
  if (
    turn.observation !== undefined &&
    !(gapBehind(after("think", false)) && gapBehind(after("prediction", true)))
  ) {
    return "misplaced-reasoning";
  }
  const outside =
    blank(0, tags[0].begin) && gapBehind(after("think", true)) && gapBehind(after("answer", true));
  return outside ? null : "text-outside-tags";
}

/** Splits an answer into actions: blank entries are skipped, then the limit holds, then unknown names are set apart. */
function readActions(
  answer: string,
  options: ParseOptions,
): Pick<ParsedTurn, "actions" | "unknownActions" | "droppedActions"> {
  const { separator = "||", maxActions = Number.POSITIVE_INFINITY } = options;
  const entries = answer
    .split(separator)
    .map(strip)
    .filter((entry) => entry !== "");
  const kept = entries.slice(0, maxActions);
  const canonical = actionReader(options);
  const actions: string[] = [];
  const unknownActions: string[] = [];
  for (const entry of kept) {
    const action = canonical(entry);
    if (action === null) {
      unknownActions.push(entry);
    } else {
      actions.push(action);
    }
  }
  return { actions, unknownActions, droppedActions: entries.length - kept.length };
}

function actionReader({ actions, parseAction }: ParseOptions): (entry: string) => string | null {
  if (parseAction !== undefined) {
    return (entry) => {
      try {
        return parseAction(entry) ?? null;
      } catch (error) {
        if (error instanceof SpaError) throw error;
        return null; // a function that stumbles over a strange text has not understood it
      }
    };
  }
  if (actions.length === 0) {
    return (entry) => entry;
  }
  const indexOf = actionSpellings(actions);
  return (entry) => actions[indexOf(entry)] ?? null;
}
