import * as library from "@huggingface/tokenizers";
import type { Permission } from "./added-tokens.ts";
import type { TokenizerJson } from "./tokenizer-json.ts";

/** A part of a text that is encoded as a whole. */
export interface TextPart {
  text: string;
  /** Control tokens are found in delimiters alone; elsewhere the text of one is only text. */
  isDelimiter: boolean;
}

/** Tokens of a text in parts: token i holds text of the parts `first[i]` up to and with `last[i]`. */
export interface PartTokens {
  tokens: Int32Array;
  first: Uint32Array;
  last: Uint32Array;
}

/** Encodes a text that comes in parts. White space that an added token takes with it belongs to no token. */
export interface PartEncoder {
  encode(parts: readonly TextPart[]): PartTokens;
}

/** Where a part lies. */
interface Range {
  part: number;
  isDelimiter: boolean;
  begin: number;
  end: number;
}

/** Merges of @huggingface/tokenizers, whose declarations leave them out. */
interface Bpe {
  encode(pieces: string[]): string[];
  readonly tokens_to_ids: ReadonlyMap<string, number>;
}
const { BPE } = library as unknown as { BPE: new (model: object) => Bpe };

const none: ReadonlySet<number> = new Set();

/**
 * Text to tokens in the steps of Hugging Face's tokenizers library (Rust): added tokens, normal form, added tokens of the
 * normal form, pieces, merges. Only the merges are @huggingface/tokenizers'; it takes the other steps in ways of its own.
 */
export class BpeEncoder implements PartEncoder {
  readonly #json: TokenizerJson;
  readonly #control: ReadonlySet<number>;
  readonly #bpe: Bpe;

  /** @param shared an encoder of the same file, whose merges are used where they can be */
  constructor(json: TokenizerJson, control: ReadonlySet<number> = none, shared?: BpeEncoder) {
    this.#json = json;
    this.#control = control;
    // A control token that is in the vocabulary, too, could be merged or be a piece of its own.
    const spelled = new Set(
      [...json.added.values()].filter(({ id }) => control.has(id)).map(({ content }) => content),
    );
    const isApart = ![...spelled].some((text) => Object.hasOwn(json.vocab, text));
    this.#bpe = shared !== undefined && isApart ? shared.#bpe : bpeWithout(spelled, json);
  }

  encode(parts: readonly TextPart[]): PartTokens {
    const ranges: Range[] = [];
    let length = 0;
    for (const [part, { text, isDelimiter }] of parts.entries()) {
      const begin = length;
      length += text.length;
      if (text !== "") ranges.push({ part, isDelimiter, begin, end: length });
    }
    // Halves of surrogate pairs become what they are in UTF-8; they would be cut in other places than that.
    const text = parts
      .map((part) => part.text)
      .join("")
      .toWellFormed();
    const list = new TokenList();
    for (const { token, begin, end } of this.#json.written.split(text, this.#permission(ranges))) {
      if (token !== undefined) list.push(token.id, begin, end, ranges);
      else this.#encodeUnmarked(text.slice(begin, end), clip(ranges, begin, end), list);
    }
    return list.done();
  }

  /** What lies between the added tokens that are looked for in the text as it is. */
  #encodeUnmarked(text: string, ranges: readonly Range[], list: TokenList): void {
    const normal = this.#normalize(text);
    const places =
      normal === text || ranges.length === 1 ? whole(ranges, normal) : this.#follow(text, ranges, normal);
    for (const { token, begin, end } of this.#json.normalized.split(normal, this.#permission(places))) {
      if (token !== undefined) list.push(token.id, begin, end, places);
      else this.#merge(normal.slice(begin, end), clip(places, begin, end), list);
    }
  }

  #merge(text: string, ranges: readonly Range[], list: TokenList): void {
    const { preTokenizer, bytesOf } = this.#json;
    const isShared = ranges.length > 1;
    const inBytes = isShared ? ranges.map((range) => byteRange(range, text)) : ranges;
    for (const piece of preTokenizer.cut(text)) {
      const entries = this.#bpe.encode([piece.text]);
      const sizes = isShared ? entries.map((entry) => bytesOf(entry).length) : [];
      const size = preTokenizer.writesBytes ? piece.text.length : Buffer.byteLength(piece.text);
      // A piece that is spelled like a byte's token is that token, whose size is another.
      const isExact = sizes.reduce((sum, bytes) => sum + bytes, 0) === size;
      let at = piece.begin;
      for (const [i, entry] of entries.entries()) {
        const end = isExact ? at + sizes[i] : piece.begin + size;
        list.push(this.#bpe.tokens_to_ids.get(entry)!, at, end, inBytes);
        if (isExact) at = end;
      }
    }
  }

  #normalize(text: string): string {
    return this.#json.normalForms.reduce((normal, form) => normal.normalize(form), text);
  }

  /** Where the parts of a text lie in its normal form; a character that parts have together lies in each of them. */
  #follow(text: string, ranges: readonly Range[], normal: string): Range[] {
    return ranges.map((range) => {
      const before = this.#normalize(text.slice(0, range.begin));
      const behind = this.#normalize(text.slice(range.end));
      let begin = 0;
      while (begin < before.length && before[begin] === normal[begin]) begin++;
      let left = 0;
      while (left < behind.length && behind.at(-1 - left) === normal.at(-1 - left)) left++;
      return { ...range, begin, end: normal.length - left };
    });
  }

  #permission(ranges: readonly Range[]): Permission {
    return ({ id }, begin, end) =>
      !this.#control.has(id) ||
      ranges.every((range) => range.isDelimiter || range.end <= begin || range.begin >= end);
  }
}

/** Tokens as they come, with the parts that they are of. */
class TokenList {
  readonly #tokens: number[] = [];
  readonly #first: number[] = [];
  readonly #last: number[] = [];

  push(id: number, begin: number, end: number, ranges: readonly Range[]): void {
    const first = ranges.find((range) => range.end > begin) ?? ranges[ranges.length - 1];
    const last = ranges.findLast((range) => range.begin < end) ?? ranges[0];
    this.#tokens.push(id);
    this.#first.push(Math.min(first.part, last.part));
    this.#last.push(Math.max(first.part, last.part));
  }

  done(): PartTokens {
    return {
      tokens: Int32Array.from(this.#tokens),
      first: Uint32Array.from(this.#first),
      last: Uint32Array.from(this.#last),
    };
  }
}

/** The ranges that touch a section, counted from its begin. */
function clip(ranges: readonly Range[], begin: number, end: number): readonly Range[] {
  return ranges
    .filter((range) => range.end > begin && range.begin < end)
    .map((range) => ({
      ...range,
      begin: Math.max(range.begin, begin) - begin,
      end: Math.min(range.end, end) - begin,
    }));
}

/** The same ranges; a single one covers its text. */
function whole(ranges: readonly Range[], text: string): readonly Range[] {
  return ranges.length === 1 ? [{ ...ranges[0], begin: 0, end: text.length }] : ranges;
}

function byteRange(range: Range, text: string): Range {
  const begin = Buffer.byteLength(text.slice(0, range.begin));
  return { ...range, begin, end: begin + Buffer.byteLength(text.slice(range.begin, range.end)) };
}

/** The merges, without those that make one of some texts or use it. */
function bpeWithout(
  texts: ReadonlySet<string>,
  { vocab, merges, byteFallback, ignoreMerges }: TokenizerJson,
): Bpe {
  const isKept = ([left, right]: [string, string]): boolean =>
    !texts.has(left) && !texts.has(right) && !texts.has(left + right);
  const all = texts.size === 0;
  return new BPE({
    type: "BPE",
    vocab: all ? vocab : Object.fromEntries(Object.entries(vocab).filter(([token]) => !texts.has(token))),
    merges: all ? merges : merges.filter(isKept),
    byte_fallback: byteFallback,
    ignore_merges: ignoreMerges,
  });
}
