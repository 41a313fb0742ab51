import { createHash } from "node:crypto";
import type { ChatFormat } from "../text/chat-format.ts";
import type { Message } from "../text/chat-template.ts";
import { joinPieces, type TokenPiece, writeConversation } from "../text/conversation.ts";
import { Role } from "../text/roles.ts";
import { spansOf } from "../text/spans.ts";
import type { TurnFormat } from "../text/tags.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { encodeSpans } from "../text/turn-text.ts";

/** Replies that are remembered: beyond them the oldest go. */
const MOST_REPLIES = 4096;

/**
 * Conversations as tokens. A reply that was sampled here keeps the tokens that it was sampled as when a client sends it back as
 * text: what was said is not encoded again, and its cache is found.
 */
export class Conversations {
  readonly #tokenizer: Tokenizer;
  readonly #chat: ChatFormat;
  readonly #format: TurnFormat;
  readonly #forced: string;
  readonly #replies = new Map<string, TokenPiece>();

  /** @param forced what every reply is made to begin with; empty if nothing */
  constructor(tokenizer: Tokenizer, chat: ChatFormat, format: TurnFormat, forced: string) {
    this.#tokenizer = tokenizer;
    this.#chat = chat;
    this.#format = format;
    this.#forced = forced;
  }

  /** Tokens up to where the reply begins. @throws SpaError BAD_ARGUMENT for messages in an order that no conversation has */
  prompt(messages: readonly Message[]): TokenPiece {
    const reply = (content: string, before: readonly TokenPiece[]): TokenPiece => {
      const known = this.#replies.get(keyOf(joinPieces(before).tokens, content));
      return known ? this.#ended(known) : this.#written(content);
    };
    return writeConversation(this.#tokenizer, this.#chat, messages, reply, this.#forced);
  }

  /** Notes that `text` was sampled as `reply` behind a prompt that {@link prompt} made. */
  remember(prompt: Int32Array, text: string, reply: TokenPiece): void {
    const forced = this.#tokenizer.encode(this.#forced);
    const before = prompt.subarray(0, prompt.length - forced.length);
    const begun = { tokens: forced, roles: new Uint8Array(forced.length).fill(Role.tag) };
    const key = keyOf(before, text);
    this.#replies.delete(key);
    this.#replies.set(key, joinPieces([begun, reply]));
    if (this.#replies.size > MOST_REPLIES) this.#replies.delete(this.#replies.keys().next().value!);
  }

  /** A reply that was cut gets its end. */
  #ended(reply: TokenPiece): TokenPiece {
    const { endToken } = this.#chat;
    if (reply.tokens.at(-1) === endToken) return reply;
    return joinPieces([reply, { tokens: Int32Array.of(endToken), roles: Uint8Array.of(Role.template) }]);
  }

  #written(content: string): TokenPiece {
    const { contents, endToken } = this.#chat;
    return encodeSpans(spansOf(content, this.#format), contents, endToken);
  }
}

function keyOf(before: Int32Array, text: string): string {
  const bytes = new Uint8Array(before.buffer, before.byteOffset, before.byteLength);
  return createHash("sha256").update(bytes).update("\0").update(text).digest("base64");
}
