// How a tokenizer.json cuts text before merging.

import { regExpOf } from "./oniguruma.ts";

/** GPT-2's pattern, with which a ByteLevel step cuts text unless `use_regex` is false. */
const gpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** ASCII's marks that Unicode calls symbols count as punctuation, too. */
const punctuation = "[\\p{P}$+<=>^`|~]+";

/** A piece of a text that no token reaches out of. */
interface Piece {
  text: string;
  /** Where it begins, in bytes of UTF-8. */
  begin: number;
}

/** Cuts pieces into smaller ones, or writes their bytes in GPT-2's alphabet. */
type Step = (pieces: Piece[]) => Piece[];

/** What stands before merging. */
export interface PreTokenizer {
  cut(text: string): Piece[];
  /** Whether pieces are written in GPT-2's alphabet, one character a byte. */
  writesBytes: boolean;
}

/**
 * Reads a tokenizer.json's `pre_tokenizer`.
 *
 * @param alphabet GPT-2's alphabet by byte.
 * @param refuse throws; called with what a step is that cannot be followed.
 */
export function readPreTokenizer(
  value: unknown,
  alphabet: readonly string[],
  refuse: (what: string) => never,
): PreTokenizer {
  const steps: Step[] = [];
  let writesBytes = false;
  for (const { type, ...settings } of flat(value, refuse)) {
    // Behind the bytes a character is a byte.
    const split = (pattern: RegExp, keeps: Keeps): Step => splitting(pattern, keeps, writesBytes);
    const compile = (pattern: string): RegExp => translated(pattern, refuse);
    if (type === "ByteLevel") {
      if (settings.add_prefix_space === true) refuse("a ByteLevel pre-tokenizer with add_prefix_space");
      if (writesBytes) refuse("two ByteLevel pre-tokenizers, the second of which would write bytes of bytes");
      if (settings.use_regex !== false) steps.push(split(compile(gpt2Pattern), "all"));
      steps.push((pieces) => pieces.map((piece) => inAlphabet(piece, alphabet)));
      writesBytes = true;
    } else if (type === "Digits") {
      steps.push(split(compile(settings.individual_digits === true ? "\\p{N}" : "\\p{N}+"), "all"));
    } else if (type === "Punctuation") {
      if (settings.behavior !== "Contiguous")
        refuse(`a Punctuation pre-tokenizer with behavior ${JSON.stringify(settings.behavior)}`);
      steps.push(split(compile(punctuation), "all"));
    } else if (type === "Split") {
      steps.push(split(compile(patternOf(settings.pattern, refuse)), keptBy(settings, refuse)));
    } else {
      refuse(`a pre-tokenizer of type ${JSON.stringify(type)}`);
    }
  }
  return { cut: (text) => steps.reduce((pieces, step) => step(pieces), [{ text, begin: 0 }]), writesBytes };
}

type Settings = Record<string, unknown>;

/** The steps of a pre-tokenizer, those of sequences one after another. */
function flat(value: unknown, refuse: (what: string) => never): Settings[] {
  if (value === null || value === undefined) return [];
  if (typeof value !== "object" || Array.isArray(value)) return refuse("a pre-tokenizer that is no object");
  const { type, pretokenizers } = value as Settings;
  if (type !== "Sequence") return [value as Settings];
  if (!Array.isArray(pretokenizers)) return refuse("a Sequence of pre-tokenizers without a list of them");
  return pretokenizers.flatMap((step) => flat(step ?? {}, refuse));
}

/** The source of a Split step's pattern: a regular expression, or a text. */
function patternOf(pattern: unknown, refuse: (what: string) => never): string {
  const { Regex: regex, String: text } = (pattern ?? {}) as Settings;
  if (typeof regex === "string" && text === undefined) return regex;
  if (typeof text === "string" && regex === undefined) return text.replace(/[\\^$.*+?()[\]{}|#&~-]/g, "\\$&");
  return refuse(
    `a Split pre-tokenizer with the pattern ${JSON.stringify(pattern)}, neither { "Regex": … } nor { "String": … }`,
  );
}

/** What a Split step keeps: everything, or only what its pattern takes. */
type Keeps = "all" | "matches";

function keptBy({ invert, behavior }: Settings, refuse: (what: string) => never): Keeps {
  if (invert !== true && behavior === "Isolated") return "all";
  if (invert === true && behavior === "Removed") return "matches";
  const what = `a Split pre-tokenizer with behavior ${JSON.stringify(behavior)}`;
  return refuse(invert === true ? `${what} and invert` : what);
}

function translated(pattern: string, refuse: (what: string) => never): RegExp {
  try {
    return regExpOf(pattern);
  } catch (error) {
    const short = pattern.length > 60 ? `${pattern.slice(0, 60)}…` : pattern;
    return refuse(
      `the regular expression ${JSON.stringify(short)}, which cannot be used: ${(error as Error).message}`,
    );
  }
}

function splitting(pattern: RegExp, keeps: Keeps, isBytes: boolean): Step {
  const size = (text: string): number => (isBytes ? text.length : Buffer.byteLength(text));
  return (pieces) =>
    pieces.flatMap(({ text, begin }) => {
      const found: Piece[] = [];
      let at = 0;
      let place = begin;
      const add = (end: number, isKept: boolean): void => {
        const part = text.slice(at, end);
        if (part !== "" && isKept) found.push({ text: part, begin: place });
        at = end;
        place += size(part);
      };
      for (const match of text.matchAll(pattern)) {
        add(match.index, keeps === "all");
        add(match.index + match[0].length, true);
      }
      add(text.length, keeps === "all");
      return found;
    });
}

function inAlphabet({ text, begin }: Piece, alphabet: readonly string[]): Piece {
  let written = "";
  for (const byte of Buffer.from(text)) written += alphabet[byte];
  return { text: written, begin };
}
