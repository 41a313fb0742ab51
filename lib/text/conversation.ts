import type { ChatFormat, Speaker } from "./chat-format.ts";
import { Role } from "./roles.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Tokens that are appended to a trajectory, none of them sampled, with a role for each. */
export interface TokenPiece {
  tokens: Int32Array;
  roles: Uint8Array;
}

/** What goes before the assistant's first turn. */
export interface Opening {
  system: string | null;
  user: string;
  /** Text that the assistant's turn is made to begin with, e.g. `<think>`; part of the turn, but not sampled. */
  forced?: string | undefined;
}

/** What goes between two turns of the assistant. */
export interface Continuation {
  /** Whether the last turn ended with its end token; otherwise one is put in, with the role `template`. */
  ended: boolean;
  user: string;
  forced?: string | undefined;
}

/** Tokens from the start of a conversation up to where the assistant's first turn is sampled. */
export function openConversation(tokenizer: Tokenizer, chat: ChatFormat, opening: Opening): TokenPiece {
  const piece = new PieceWriter(tokenizer, chat);
  piece.add(chat.begin, Role.template);
  if (opening.system !== null) {
    piece.message("system", opening.system, Role.prompt);
  }
  piece.message("user", opening.user, Role.prompt);
  piece.openTurn(opening.forced);
  return piece.finish();
}

/** Tokens from the end of one assistant turn up to where the next is sampled. */
export function continueConversation(tokenizer: Tokenizer, chat: ChatFormat, next: Continuation): TokenPiece {
  const piece = new PieceWriter(tokenizer, chat);
  if (!next.ended) {
    piece.add([chat.endToken], Role.template);
  }
  piece.add(chat.separator, Role.template);
  piece.message("user", next.user, Role.environment);
  piece.openTurn(next.forced);
  return piece.finish();
}

class PieceWriter {
  readonly #tokenizer: Tokenizer;
  readonly #chat: ChatFormat;
  readonly #tokens: number[] = [];
  readonly #roles: number[] = [];

  constructor(tokenizer: Tokenizer, chat: ChatFormat) {
    this.#tokenizer = tokenizer;
    this.#chat = chat;
  }

  add(tokens: ArrayLike<number>, role: Role): void {
    for (let i = 0; i < tokens.length; i++) {
      this.#tokens.push(tokens[i]);
      this.#roles.push(role);
    }
  }

  message(speaker: Speaker, content: string, role: Role): void {
    this.add(this.#chat.open(speaker), Role.template);
    this.add(this.#tokenizer.encode(content), role);
    this.add([this.#chat.endToken], Role.template);
    this.add(this.#chat.separator, Role.template);
  }

  openTurn(forced = ""): void {
    this.add(this.#chat.open("assistant"), Role.template);
    this.add(this.#tokenizer.encode(forced), Role.tag);
  }

  finish(): TokenPiece {
    return { tokens: Int32Array.from(this.#tokens), roles: Uint8Array.from(this.#roles) };
  }
}
