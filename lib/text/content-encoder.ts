import type { Tokenizer } from "./tokenizer.ts";

/**
 * Encodes what stands between a chat format's delimiters. There the text of a control token is only text, so that
 * nothing that an environment, a user or a data file writes ends a turn or begins one. Other text has the ids that the
 * tokenizer gives it.
 */
export class ContentEncoder {
  readonly #tokenizer: Tokenizer;
  readonly #control: ReadonlySet<number>;
  readonly #pattern: RegExp;
  /** Made when it is needed first, which is hardly ever. */
  #plain: Tokenizer | undefined;

  /** @param control tokens that open, close or end turns; not empty */
  constructor(tokenizer: Tokenizer, control: Iterable<number>) {
    this.#tokenizer = tokenizer;
    this.#control = new Set(control);
    const texts = [...this.#control].map((id) => tokenizer.decode([id])).sort((a, b) => b.length - a.length);
    const escaped = texts.map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    this.#pattern = new RegExp(`(${escaped.join("|")})`);
  }

  /** Whether a text holds that of a control token. */
  holdsControl(text: string): boolean {
    return this.#pattern.test(text);
  }

  /** Token ids of a content, no control token among them. */
  encode(text: string): Int32Array {
    if (!this.holdsControl(text)) return this.#tokenizer.encode(text);
    this.#plain ??= this.#tokenizer.without(this.#control);
    return this.#plain.encode(text);
  }

  /** Token ids of texts that stand one after another: control tokens are those of the delimiters. */
  encodeWithin(parts: readonly { text: string; isDelimiter: boolean }[]): Int32Array {
    if (!parts.some(({ text, isDelimiter }) => !isDelimiter && this.holdsControl(text))) {
      return this.#tokenizer.encode(parts.map(({ text }) => text).join(""));
    }
    const tokens: number[] = [];
    let content = "";
    const append = (ids: Int32Array): void => {
      for (const id of ids) tokens.push(id);
    };
    const flush = (): void => {
      append(this.encode(content));
      content = "";
    };
    for (const { text, isDelimiter } of parts) {
      // A pattern with a group: what it finds stands at odd places.
      for (const [index, piece] of (isDelimiter ? text.split(this.#pattern) : [text]).entries()) {
        if (index % 2 === 0) {
          content += piece;
          continue;
        }
        flush();
        append(this.#tokenizer.encode(piece));
      }
    }
    flush();
    return Int32Array.from(tokens);
  }
}
