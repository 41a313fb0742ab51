import { SpaError } from "../errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Who speaks in a message. */
export type Speaker = "system" | "user" | "assistant";

/**
 * How messages are delimited, as token ids. A conversation is `begin`, then for each message `open(speaker)`, the
 * content's tokens, the end token and `separator`.
 */
export interface ChatFormat {
  /** What stands once at the start of a conversation (a begin-of-text token, or nothing). */
  readonly begin: Int32Array;
  /** What comes before the content of a message. */
  open(speaker: Speaker): Int32Array;
  /** Ends a message; the token with which the model ends its turn. */
  readonly endToken: number;
  /** Every token after which the model has finished its turn (`endToken` and, say, end-of-text). For `generate`. */
  readonly stopTokens: readonly number[];
  /** What stands between an end token and the next message. */
  readonly separator: Int32Array;
}

/**
 * The chat format of a tokenizer, told by its special tokens. ChatML (nano, Qwen):
 * `<|im_start|>user\n…<|im_end|>\n<|im_start|>assistant\n…<|im_end|>\n`.
 *
 * @throws SpaError BAD_TOKENIZER if the tokenizer has no delimiters that this package knows.
 */
export function chatFormatOf(tokenizer: Tokenizer): ChatFormat {
  const end = tokenizer.tokenId("<|im_end|>");
  const endOfText = tokenizer.tokenId("<|endoftext|>");
  if (tokenizer.tokenId("<|im_start|>") === undefined || end === undefined) {
    throw new SpaError("BAD_TOKENIZER", "the tokenizer has no <|im_start|> and <|im_end|> tokens", {
      hint: "only models with the ChatML format are supported (nano, Qwen2, Qwen2.5, Qwen3)",
    });
  }
  const openings: Record<Speaker, Int32Array> = {
    system: tokenizer.encode("<|im_start|>system\n"),
    user: tokenizer.encode("<|im_start|>user\n"),
    assistant: tokenizer.encode("<|im_start|>assistant\n"),
  };
  return {
    begin: new Int32Array(),
    open: (speaker) => openings[speaker],
    endToken: end,
    stopTokens: endOfText === undefined ? [end] : [end, endOfText],
    separator: tokenizer.encode("\n"),
  };
}
