import type { PartEncoder, PartTokens, TextPart } from "./bpe-encoder.ts";
import { nanoFiles } from "./nano-tokenizer.ts";
import { specialTokens } from "./nano-vocabulary.ts";
import { Tokenizer } from "./tokenizer.ts";

/** Words with the blank before them, single digits, runs of marks: where LLM tokenizers cut text, too. */
const pieces = /\n+| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s/u;

/**
 * Makes a token of every word, in ChatML: for estimates about a model whose own tokenizer is not at hand. English
 * prompts come to about as many tokens as with a vocabulary of 100,000 and more.
 */
export class WordTokenizer extends Tokenizer {
  readonly #ids = new Map<string, number>();
  readonly #words = new Map<number, Uint8Array>();
  readonly #pattern: RegExp;

  constructor() {
    super(nanoFiles(), "words");
    const special = specialTokens.map((token) => token.replace(/[|\\]/g, "\\$&"));
    this.#pattern = new RegExp(`${special.join("|")}|${pieces.source}`, "gu");
  }

  override encoder(): PartEncoder {
    return { encode: (parts) => this.#encode(parts) };
  }

  override bytesOf(id: number): Uint8Array {
    return this.#words.get(id) ?? super.bytesOf(id);
  }

  /** Words do not reach from one part into the next. */
  #encode(parts: readonly TextPart[]): PartTokens {
    const words = parts.flatMap(({ text }, part) =>
      Array.from(text.match(this.#pattern) ?? [], (piece) => ({ id: this.#idOf(piece), part })),
    );
    const places = Uint32Array.from(words, ({ part }) => part);
    return { tokens: Int32Array.from(words, ({ id }) => id), first: places, last: places };
  }

  #idOf(piece: string): number {
    const special = (specialTokens as readonly string[]).includes(piece) ? this.tokenId(piece) : undefined;
    const known = special ?? this.#ids.get(piece);
    if (known !== undefined) return known;
    const id = this.vocabularySize + this.#ids.size;
    this.#ids.set(piece, id);
    this.#words.set(id, new TextEncoder().encode(piece));
    return id;
  }
}
