import type { Model } from "../engine/model.ts";
import { Sampler } from "../sampling/sampler.ts";
import type { ChatFormat } from "../text/chat-format.ts";
import { chatFormatOf } from "../text/chat-format.ts";
import type { TurnFormat } from "../text/tags.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { Conversations } from "./conversation.ts";

export interface ServedModelOptions {
  name: string;
  model: Model;
  tokenizer: Tokenizer;
  format: TurnFormat;
  /** What replies in conversations are made to begin with; empty if nothing. */
  forced: string;
  /** Requests that sample at the same time. */
  slots: number;
  /** Tokens of a prompt and its reply together. */
  context: number;
  seed: number;
  /** What its weights are: the name of a checkpoint. */
  fingerprint: string;
  /** The model that it is an adapter of; null for one that is none. */
  parent: string | null;
}

/** A model under the name that requests give. */
export class ServedModel implements AsyncDisposable {
  readonly name: string;
  readonly parent: string | null;
  readonly tokenizer: Tokenizer;
  readonly chat: ChatFormat;
  readonly format: TurnFormat;
  readonly conversations: Conversations;
  /** What replies in conversations are made to begin with. */
  readonly forced: string;
  readonly sampler: Sampler;
  /** What its weights are; it changes where the server follows a run. */
  fingerprint: string;
  /** Seconds since 1970. */
  readonly created = Math.floor(Date.now() / 1000);

  private constructor(options: ServedModelOptions, sampler: Sampler) {
    const { name, parent, tokenizer, format, forced, fingerprint } = options;
    this.name = name;
    this.parent = parent;
    this.tokenizer = tokenizer;
    this.format = format;
    this.forced = forced;
    this.fingerprint = fingerprint;
    this.chat = chatFormatOf(tokenizer);
    this.conversations = new Conversations(tokenizer, this.chat, format, forced);
    this.sampler = sampler;
  }

  /** @throws SpaError OUT_OF_MEMORY where the slots do not fit */
  static async open(options: ServedModelOptions): Promise<ServedModel> {
    const { model, slots, context, seed } = options;
    return new ServedModel(options, await Sampler.open({ model, slots, maxTokens: context, seed }));
  }

  /** Whether `choices` more find a slot, or a place among `most` that wait. */
  hasRoom(choices: number, most: number): boolean {
    const { active, waiting } = this.sampler.figures;
    return waiting + choices <= this.sampler.slots - active + most;
  }

  /** An entry of `/v1/models`. */
  get description() {
    return {
      id: this.name,
      object: "model",
      created: this.created,
      owned_by: "spa-ai",
      parent: this.parent,
      max_model_len: this.sampler.maxTokens,
      checkpoint: this.fingerprint,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sampler.dispose();
    await this.sampler.model.dispose();
  }
}
