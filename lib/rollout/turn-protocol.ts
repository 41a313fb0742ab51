import type { Environment } from "../../envs/environment.ts";
import { shownValue } from "../../envs/foreign-value.ts";
import type { Config } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import { type ChatFormat, chatFormatOf } from "../text/chat-format.ts";
import { continueConversation, openConversation, type TokenPiece } from "../text/conversation.ts";
import { parseTurn } from "../text/parse.ts";
import { type PromptSettings, renderFirstPrompt, renderNextPrompt } from "../text/prompt.ts";
import { type ReadTurn, readTurn } from "../text/read-turn.ts";
import type { Span } from "../text/spans.ts";
import { type StateText, writeState } from "../text/state-text.ts";
import { scanTags, type TurnFormat } from "../text/tags.ts";
import { TextMemory } from "../text/text-memory.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { encodeSpans, writeTurn } from "../text/turn-text.ts";
import { joined } from "../typed-arrays.ts";

/** What stands between the actions of an answer. */
const ACTION_SEPARATOR = "||";

/** What reading a reply needs of an environment. */
type PlayedEnvironment = Pick<Environment, "actions" | "parseAction"> & { name?: string };

/** Where the agent stands before a turn; an `Episode` is one. */
export interface Position {
  environment: PlayedEnvironment & Pick<Environment, "instructions">;
  state: StateText;
  /** Turns played. */
  turns: number;
  /** Actions that the episode may still take; null: any number. */
  actionsLeft: number | null;
}

/** How a run talks with its model: prompts and replies as text and as tokens, for one format of turns. */
export class TurnProtocol {
  readonly tokenizer: Tokenizer;
  readonly chat: ChatFormat;
  readonly format: TurnFormat;
  readonly settings: Config["protocol"];
  readonly #prompt: PromptSettings;
  readonly #forced: string | undefined;
  readonly #forcedTokens: Int32Array;
  readonly #prompts = new TextMemory<TokenPiece>();
  readonly #spans = new TextMemory<Int32Array>();
  /** Lists of actions that replies can hold. */
  readonly #carried = new WeakSet<readonly string[]>();

  constructor(tokenizer: Tokenizer, settings: Config["protocol"], format: TurnFormat) {
    this.tokenizer = tokenizer;
    this.chat = chatFormatOf(tokenizer);
    this.format = format;
    this.settings = settings;
    this.#forced = settings.forceThink ? "<think>" : undefined;
    this.#forcedTokens = tokenizer.encode(this.#forced ?? "");
    this.#prompt = {
      style: settings.style,
      format,
      replyState: settings.traceState,
      maxActions: settings.maxActionsPerTurn,
      separator: ACTION_SEPARATOR,
      maxNewTokens: settings.maxNewTokens,
    };
  }

  /** Text with which the agent's turn is made to begin; empty if none. */
  get forced(): string {
    return this.#forced ?? "";
  }

  /** The system message of every conversation; null if the style has none. */
  get system(): string | null {
    const turn = { turn: 1, state: "", actionsLeft: null };
    return renderFirstPrompt(this.#prompt, { instructions: "", actions: [] }, turn).system;
  }

  /** The state as observations and predictions write it. */
  traceState(state: StateText): string {
    return writeState(state, this.settings.traceState);
  }

  /** Whether a reply of the greatest length finds room in the context behind so many tokens. */
  fits(length: number): boolean {
    return length + this.settings.maxNewTokens <= this.settings.maxTokens;
  }

  /**
   * What is wrong with a prompt of so many tokens that it does not {@link fits}.
   *
   * @param of what it is the prompt of: `level seed 5`
   */
  promptTooLong(length: number, of: string): SpaError {
    const { maxNewTokens, maxTokens } = this.settings;
    const message = `the prompt of ${of} has ${length} tokens; with ${maxNewTokens} new tokens it passes the context limit of ${maxTokens}`;
    return new SpaError("CAPACITY", message, {
      hint: "raise protocol.maxTokens or lower protocol.maxNewTokens",
    });
  }

  /** The messages before the agent's next turn when it starts a sequence. */
  firstMessages(position: Position): { system: string | null; user: string } {
    const { environment } = position;
    this.checkActions(environment);
    const task = { instructions: environment.instructions(), actions: environment.actions };
    return renderFirstPrompt(this.#prompt, task, this.#turnPrompt(position));
  }

  /** The user message before the agent's next turn when it goes on with a sequence. */
  nextMessage(position: Position, reward: number): string {
    this.checkActions(position.environment);
    return renderNextPrompt(this.#prompt, { ...this.#turnPrompt(position), reward });
  }

  #turnPrompt({ state, turns, actionsLeft }: Position) {
    return { turn: turns + 1, state: state[this.settings.promptState], actionsLeft };
  }

  /** Tokens from the start of a sequence to where the agent's turn begins. Do not change the arrays. */
  opening(messages: { system: string | null; user: string }): TokenPiece {
    const { system, user } = messages;
    return this.#prompts.of(`opening\0${system ?? ""}\0${user}`, () =>
      openConversation(this.tokenizer, this.chat, { system, user, forced: this.#forced }),
    );
  }

  /** Tokens from the end of one turn to where the next begins. `ended`: the model ended its turn itself. */
  continuation(user: string, ended: boolean): TokenPiece {
    return this.#prompts.of(`continuation\0${ended}\0${user}`, () =>
      continueConversation(this.tokenizer, this.chat, { ended, user, forced: this.#forced }),
    );
  }

  /** A written reply with its end token. */
  encodeReply(spans: readonly Span[]): TokenPiece {
    const { contents, endToken } = this.chat;
    const encode = (text: string) => this.#spans.of(text, () => contents.encode(text));
    return encodeSpans(spans, { encode }, endToken);
  }

  /** Reads a sampled reply. @param tokens without a forced beginning; the roles are those of `tokens` */
  read(tokens: Int32Array, environment: PlayedEnvironment): ReadTurn {
    this.checkActions(environment);
    const forced = this.#forcedTokens;
    const turn = forced.length === 0 ? tokens : joined(Int32Array, [forced, tokens]);
    const reply = readTurn(turn, this.tokenizer, this.chat, {
      format: this.format,
      actions: environment.actions,
      parseAction: environment.parseAction?.bind(environment),
      maxActions: this.settings.maxActionsPerTurn,
      separator: ACTION_SEPARATOR,
    });
    return { ...reply, roles: reply.roles.subarray(forced.length) };
  }

  /**
   * Sees that every action can stand in an answer: that a reply with it reads as that action.
   *
   * @throws SpaError BAD_ENVIRONMENT
   */
  checkActions({ actions, name = "the environment" }: PlayedEnvironment): void {
    if (this.#carried.has(actions)) return;
    for (const action of actions) {
      const spans = writeTurn({ format: "plain", reasoning: "", actions: [action] });
      const text = spans.map((span) => span.text).join("");
      const read = parseTurn(text, { format: "plain", actions: [], separator: ACTION_SEPARATOR });
      const holdsTag = scanTags(action, "world-model").length > 0;
      if (!holdsTag && read.valid && read.actions.length === 1 && read.actions[0] === action) continue;
      const problem = `${name}: actions has ${shownValue(action)}, which no answer can hold`;
      throw new SpaError("BAD_ENVIRONMENT", problem, {
        hint: `an action has no white space at its ends, no ${ACTION_SEPARATOR} and no tag of a turn (docs/protocol.md)`,
      });
    }
    this.#carried.add(actions);
  }
}
