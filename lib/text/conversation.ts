import { SpaError } from "../errors.ts";
import { joined } from "../typed-arrays.ts";
import type { ChatFormat } from "./chat-format.ts";
import type { Message } from "./chat-template.ts";
import { Role } from "./roles.ts";
import type { Span } from "./spans.ts";
import { strip } from "./tags.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Tokens that are appended to a trajectory, none of them sampled, with a role for each. */
export interface TokenPiece {
  tokens: Int32Array;
  roles: Uint8Array;
}

/** What goes before the assistant's first turn. */
interface Opening {
  system: string | null;
  user: string;
  /** Text that the assistant's turn is made to begin with, e.g. `<think>`; part of the turn, but not sampled. */
  forced?: string | undefined;
}

/** What goes between two turns of the assistant. */
interface Continuation {
  /** Whether the last turn ended with its end token; otherwise one is put in, with the role `template`. */
  ended: boolean;
  user: string;
  forced?: string | undefined;
}

/** Tokens from the start of a conversation up to where the assistant's first turn is sampled. */
export function openConversation(tokenizer: Tokenizer, chat: ChatFormat, opening: Opening): TokenPiece {
  const text = new ConversationText(tokenizer, chat);
  if (opening.system !== null) text.message("system", opening.system);
  text.message("user", opening.user);
  text.openTurn();
  return text.encode(opening.forced);
}

/** Tokens from the end of one assistant turn up to where the next is sampled. */
export function continueConversation(tokenizer: Tokenizer, chat: ChatFormat, next: Continuation): TokenPiece {
  const end = { tokens: Int32Array.of(chat.endToken), roles: Uint8Array.of(Role.template) };
  const text = new ConversationText(tokenizer, chat);
  text.replied();
  text.message("user", next.user);
  text.openTurn();
  const piece = text.encode(next.forced);
  return next.ended ? piece : joinPieces([end, piece]);
}

/**
 * Tokens of a written conversation, up to where the assistant's next turn begins.
 *
 * @param reply gives the tokens of an assistant message, its end token included; it is told what comes before it.
 * @param forced what the next turn is made to begin with.
 * @throws SpaError BAD_ARGUMENT if a system message is not the first one, or no user message comes before the assistant's
 */
export function writeConversation(
  tokenizer: Tokenizer,
  chat: ChatFormat,
  messages: readonly Message[],
  reply: (content: string, before: readonly TokenPiece[]) => TokenPiece,
  forced = "",
): TokenPiece {
  const pieces: TokenPiece[] = [];
  let text = new ConversationText(tokenizer, chat);
  for (const { role, content } of messages) {
    if (role !== "assistant") {
      text.message(role, content);
      continue;
    }
    text.openTurn();
    pieces.push(text.encode());
    pieces.push(reply(content, pieces));
    text = new ConversationText(tokenizer, chat);
    text.replied();
  }
  text.openTurn();
  pieces.push(text.encode(forced));
  return joinPieces(pieces);
}

/**
 * New text of a conversation between two replies, in spans. It is encoded as one text, so that a line break of the
 * delimiter and one of the content are the token that the model was trained on; delimiters inside contents are text.
 */
class ConversationText {
  readonly #tokenizer: Tokenizer;
  readonly #chat: ChatFormat;
  readonly #spans: Span[] = [];
  /** What was written last. */
  #last: "start" | "system" | "user" | "reply" = "start";

  constructor(tokenizer: Tokenizer, chat: ChatFormat) {
    this.#tokenizer = tokenizer;
    this.#chat = chat;
  }

  message(speaker: "system" | "user", text: string): void {
    const { begin, openSystem, systemToUser, openUser, closeUser, separator, trimsSystem, trimsUser } =
      this.#chat.delimiters;
    const content = (speaker === "system" ? trimsSystem : trimsUser) ? strip(text) : text;
    if (speaker === "system") {
      if (this.#last !== "start") throw badOrder("a system message can only be the first one");
      this.#add(openSystem, Role.template);
      this.#add(content, Role.prompt);
      this.#last = "system";
      return;
    }
    const first = this.#last === "start" || this.#last === "system";
    if (this.#last === "reply") this.#add(separator, Role.template);
    this.#add(first ? (this.#last === "start" ? begin : systemToUser) : openUser, Role.template);
    this.#add(content, first ? Role.prompt : Role.environment);
    this.#add(closeUser, Role.template);
    this.#last = "user";
  }

  /** Ends with what comes before a reply. */
  openTurn(): void {
    if (this.#last === "start" || this.#last === "system") {
      throw badOrder("there is no user message before the assistant's");
    }
    const { openAssistant, separator } = this.#chat.delimiters;
    if (this.#last === "reply") this.#add(separator, Role.template);
    this.#add(openAssistant, Role.template);
  }

  /** The text goes on behind a reply's end token. */
  replied(): void {
    this.#last = "reply";
  }

  /** @param forced what the assistant's turn is made to begin with; encoded by itself */
  encode(forced = ""): TokenPiece {
    const { tokens, first, last } = this.#chat.contents.encodeWithin(
      this.#spans.map(({ text, role }) => ({ text, isDelimiter: role === Role.template })),
    );
    const roles = new Uint8Array(tokens.length);
    for (let i = 0; i < roles.length; i++) {
      let part = last[i];
      // A token that holds any part of a content belongs to it.
      while (part > first[i] && this.#spans[part].role === Role.template) part--;
      roles[i] = this.#spans[part].role;
    }
    const begun = this.#tokenizer.encode(forced);
    const tags = { tokens: begun, roles: new Uint8Array(begun.length).fill(Role.tag) };
    return joinPieces([{ tokens, roles }, tags]);
  }

  #add(text: string, role: Role): void {
    if (text !== "") this.#spans.push({ text, role });
  }
}

/** Pieces that come one after another, as one. */
export function joinPieces(pieces: readonly TokenPiece[]): TokenPiece {
  return {
    tokens: joined(
      Int32Array,
      pieces.map(({ tokens }) => tokens),
    ),
    roles: joined(
      Uint8Array,
      pieces.map(({ roles }) => roles),
    ),
  };
}

function badOrder(what: string): SpaError {
  return new SpaError("BAD_ARGUMENT", `the conversation cannot be written: ${what}`, {
    hint: "a conversation is a system message or none, then user and assistant messages in turn",
  });
}
