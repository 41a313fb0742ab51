import type { Choice } from "./generation.ts";
import type { GenerationRequest } from "./request.ts";
import type { ServedModel } from "./served-model.ts";
import type { StreamedToken } from "./text-stream.ts";

/** What all parts of a response say of it. */
interface ResponseHead {
  id: string;
  object: string;
  created: number;
  model: string;
  system_fingerprint: string;
}

/** Writes responses as OpenAI's API has them, with token ids under vLLM's names (`prompt_token_ids`, `token_ids`). */
export class ResponseWriter {
  readonly #request: GenerationRequest;
  readonly #head: Omit<ResponseHead, "object">;
  readonly #forced: string;
  readonly #tokenizer: ServedModel["tokenizer"];

  constructor(served: ServedModel, request: GenerationRequest, id: string) {
    this.#request = request;
    this.#tokenizer = served.tokenizer;
    this.#forced = request.kind === "chat" ? served.forced : "";
    this.#head = {
      id: `${request.kind === "chat" ? "chatcmpl" : "cmpl"}-${id}`,
      created: Math.floor(Date.now() / 1000),
      model: served.name,
      system_fingerprint: served.fingerprint,
    };
  }

  /** The whole answer. */
  whole(choices: readonly Choice[]) {
    const isChat = this.#request.kind === "chat";
    return {
      ...this.#head,
      object: isChat ? "chat.completion" : "text_completion",
      choices: choices.map((choice) => {
        const { stream, finish } = choice;
        const text = this.#forced + stream.text;
        return {
          index: choice.index,
          ...(isChat ? { message: { role: "assistant", content: text, refusal: null } } : { text }),
          logprobs: this.#logProbs(stream.tokens, 0),
          finish_reason: finish,
          stop_reason: stream.stopped,
          ...(this.#request.tokenIds && { token_ids: Array.from(choice.tokens) }),
          ...(!isChat && this.#promptIds(choice)),
        };
      }),
      usage: usageOf(choices),
      ...(isChat && this.#promptIds(choices[0])),
    };
  }

  /** The first event of a choice. */
  begin(choice: Choice) {
    const isChat = this.#request.kind === "chat";
    const opening = isChat ? { delta: { role: "assistant", content: this.#forced } } : { text: "" };
    const piece = { index: choice.index, ...opening, logprobs: null, finish_reason: null };
    if (isChat) return { ...this.#event([piece]), ...this.#promptIds(choice) };
    return this.#event([{ ...piece, ...this.#promptIds(choice) }]);
  }

  /** New text and tokens of a choice; the last where it has ended. */
  more(choice: Choice, text: string, tokens: readonly StreamedToken[]) {
    const isChat = this.#request.kind === "chat";
    return this.#event([
      {
        index: choice.index,
        ...(isChat ? { delta: text === "" ? {} : { content: text } } : { text }),
        logprobs: tokens.length > 0 ? this.#logProbs(tokens, this.#textBefore(choice, tokens)) : null,
        finish_reason: choice.finish ?? null,
        ...(choice.finish && { stop_reason: choice.stream.stopped }),
        ...(this.#request.tokenIds && { token_ids: tokens.map(({ id }) => id) }),
      },
    ]);
  }

  /** The event behind the last choice's end, where it was asked for. */
  usage(choices: readonly Choice[]) {
    return { ...this.#event([]), usage: usageOf(choices) };
  }

  #event(choices: readonly object[]) {
    const object = this.#request.kind === "chat" ? "chat.completion.chunk" : "text_completion";
    return { ...this.#head, object, choices };
  }

  #promptIds({ prompt }: Choice) {
    return this.#request.tokenIds && { prompt_token_ids: Array.from(prompt.tokens) };
  }

  /** Characters of a choice's tokens before its newest. */
  #textBefore({ stream }: Choice, newest: readonly StreamedToken[]): number {
    if (!this.#request.logProbs || this.#request.kind === "chat") return 0;
    const before = stream.tokens.slice(0, stream.tokens.indexOf(newest[0]));
    return before.reduce((sum, { id }) => sum + this.#tokenizer.decode([id]).length, 0);
  }

  /** @param offset characters of the text before the tokens */
  #logProbs(tokens: readonly StreamedToken[], offset: number) {
    if (!this.#request.logProbs) return null;
    const textOf = ({ id }: StreamedToken) => this.#tokenizer.decode([id]);
    if (this.#request.kind === "chat") {
      return {
        content: tokens.map((token) => ({
          token: textOf(token),
          logprob: token.logProb,
          bytes: Array.from(token.bytes),
          top_logprobs: [],
        })),
      };
    }
    let end = offset;
    return {
      tokens: tokens.map(textOf),
      token_logprobs: tokens.map(({ logProb }) => logProb),
      top_logprobs: null,
      text_offset: tokens.map((token) => {
        const begin = end;
        end += textOf(token).length;
        return begin;
      }),
    };
  }
}

function usageOf(choices: readonly Choice[]) {
  const prompts = new Set(choices.map(({ prompt }) => prompt));
  const prompt_tokens = [...prompts].reduce((sum, { tokens }) => sum + tokens.length, 0);
  const completion_tokens = choices.reduce((sum, { stream }) => sum + stream.tokens.length, 0);
  // Of a prompt's choices the first computes what the others find.
  const firsts = [...prompts].map((prompt) => choices.find((choice) => choice.prompt === prompt)!);
  const cached_tokens = firsts.reduce((sum, { cached }) => sum + cached, 0);
  const total_tokens = prompt_tokens + completion_tokens;
  return { prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details: { cached_tokens } };
}
