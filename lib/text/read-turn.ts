import type { ChatFormat } from "./chat-format.ts";
import { type ParsedTurn, type ParseOptions, parseTurn } from "./parse.ts";
import { assignRoles, textTokens } from "./spans.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A sampled turn, read: its text without the end token, its parts, and a role for each token. */
export interface ReadTurn {
  text: string;
  parsed: ParsedTurn;
  /** [tokens] */
  roles: Uint8Array;
}

/**
 * Reads the tokens of one assistant turn, a forced `<think>` and the end token included. Whether the model ended the
 * turn is told by its last token.
 */
export function readTurn(
  tokens: ArrayLike<number>,
  tokenizer: Tokenizer,
  chat: ChatFormat,
  options: Omit<ParseOptions, "finished">,
): ReadTurn {
  const text = tokenizer.decode(textTokens(tokens, chat.stopTokens));
  const finished = tokens.length > 0 && chat.stopTokens.includes(tokens[tokens.length - 1]);
  return {
    text,
    parsed: parseTurn(text, { ...options, finished }),
    roles: assignRoles(tokens, tokenizer, options.format, chat.stopTokens),
  };
}
