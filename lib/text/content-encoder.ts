import type { PartEncoder, PartTokens, TextPart } from "./bpe-encoder.ts";
import type { Tokenizer } from "./tokenizer.ts";

/**
 * Encodes what stands between a chat format's delimiters. There the text of a control token is only text, so that
 * nothing that an environment, a user or a data file writes ends a turn or begins one. Other text has the ids that the
 * tokenizer gives it.
 */
export class ContentEncoder {
  readonly #encoder: PartEncoder;

  /** @param control tokens that open, close or end turns */
  constructor(tokenizer: Tokenizer, control: Iterable<number>) {
    this.#encoder = tokenizer.encoder(new Set(control));
  }

  /** Token ids of a content, no control token among them. */
  encode(text: string): Int32Array {
    return this.#encoder.encode([{ text, isDelimiter: false }]).tokens;
  }

  /** Tokens of texts that stand one after another: control tokens are those of the delimiters. */
  encodeWithin(parts: readonly TextPart[]): PartTokens {
    return this.#encoder.encode(parts);
  }
}
