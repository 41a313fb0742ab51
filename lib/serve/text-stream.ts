import type { Tokenizer } from "../text/tokenizer.ts";

/** A token of a reply, and the text that is sure with it. */
export interface StreamedToken {
  id: number;
  logProb: number;
  /** [bytes] of the token. */
  bytes: Uint8Array;
}

/**
 * The text of a reply as its tokens come: whole characters, and none that may belong to a stop text which is still to come.
 */
export class TextStream {
  readonly tokens: StreamedToken[] = [];
  /** The stop text that was found; null while there is none. */
  stopped: string | null = null;
  readonly #tokenizer: Tokenizer;
  readonly #stop: readonly string[];
  readonly #endTokens: readonly number[];
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  /** Decoded text of which nothing has been given out: it may begin a stop text. */
  #held = "";
  #text = "";

  constructor(tokenizer: Tokenizer, stop: readonly string[], endTokens: readonly number[]) {
    this.#tokenizer = tokenizer;
    this.#stop = stop;
    this.#endTokens = endTokens;
  }

  /** All text that has been given out. */
  get text(): string {
    return this.#text;
  }

  /** Takes new tokens, up to the one that ends a stop text. @returns the text that is sure now */
  push(ids: Int32Array, logProbs: Float32Array): string {
    let given = "";
    for (let index = 0; index < ids.length && this.stopped === null; index++) {
      const bytes = this.#tokenizer.bytesOf(ids[index]);
      this.tokens.push({ id: ids[index], logProb: logProbs[index], bytes });
      if (!this.#endTokens.includes(ids[index])) this.#held += this.#utf8.decode(bytes, { stream: true });
      given += this.#release();
    }
    this.#text += given;
    return given;
  }

  /** The reply has ended: the rest of its text. */
  finish(): string {
    if (this.stopped !== null) return "";
    this.#held += this.#utf8.decode();
    const given = this.#release() + (this.stopped === null ? this.#held : "");
    this.#held = "";
    this.#text += given;
    return given;
  }

  #release(): string {
    const found = this.#stop
      .map((text) => ({ text, at: this.#held.indexOf(text) }))
      .filter(({ at }) => at >= 0)
      .sort((left, right) => left.at - right.at)[0];
    if (found) {
      this.stopped = found.text;
      return this.#held.slice(0, found.at);
    }
    const kept = Math.max(0, ...this.#stop.map((text) => overlap(this.#held, text)));
    const given = this.#held.slice(0, this.#held.length - kept);
    this.#held = this.#held.slice(given.length);
    return given;
  }
}

/** The longest end of `text` with which `stop` begins, in characters. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--)
    if (stop.startsWith(text.slice(text.length - length))) return length;
  return 0;
}
