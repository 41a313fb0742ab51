import type { Tokenizer } from "../text/tokenizer.ts";
import { byteToken } from "../text/tokenizer-json.ts";

/** Of unknown texts so many are told. */
const TOLD = 8;

/** Collects what a vocabulary has no words for and writes in byte tokens (byte fallback). */
export class UnknownText {
  readonly #tokenizer: Tokenizer;
  readonly #bytes: ReadonlySet<number>;
  readonly #found = new Set<string>();

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
    const ids = Array.from({ length: 256 }, (_, byte) => tokenizer.tokenId(byteToken(byte)));
    this.#bytes = new Set(ids.filter((id) => id !== undefined));
  }

  /** Looks through a text's tokens. */
  see(tokens: Int32Array): void {
    let begin = 0;
    for (let index = 0; index <= tokens.length; index++) {
      if (index < tokens.length && this.#bytes.has(tokens[index])) continue;
      if (index > begin && this.#found.size < TOLD) this.#note(tokens.subarray(begin, index));
      begin = index + 1;
    }
  }

  /** A row of equal cells counts as one. */
  #note(tokens: Int32Array): void {
    const text = this.#tokenizer.decode(tokens).replace(/^(\D)\1+$/u, "$1");
    this.#found.add(JSON.stringify(text));
  }

  /** The first texts that were met, quoted. */
  get found(): string[] {
    return [...this.#found];
  }
}
