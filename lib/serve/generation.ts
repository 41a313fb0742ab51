import { setMaxListeners } from "node:events";
import { seedOf } from "../rollout/seeded-generator.ts";
import type { TokenPiece } from "../text/conversation.ts";
import { Role } from "../text/roles.ts";
import { assignRoles } from "../text/spans.ts";
import type { GenerationRequest } from "./request.ts";
import type { ServedModel } from "./served-model.ts";
import { TextStream } from "./text-stream.ts";

/** One reply of a request. */
export class Choice {
  readonly index: number;
  readonly prompt: TokenPiece;
  readonly stream: TextStream;
  /** Undefined until it has ended. */
  finish: "stop" | "length" | undefined;
  /** Tokens of the prompt that were found in the cache. */
  cached = 0;

  constructor(index: number, prompt: TokenPiece, stream: TextStream) {
    this.index = index;
    this.prompt = prompt;
    this.stream = stream;
  }

  /** [tokens] what was sampled, up to what ended it. */
  get tokens(): Int32Array {
    return Int32Array.from(this.stream.tokens, ({ id }) => id);
  }

  /** The same with the role of each token, and the log-probs that they were sampled with. */
  reply({ tokenizer, format, chat }: ServedModel): TokenPiece & { logProbs: Float32Array } {
    const { tokens } = this;
    const logProbs = Float32Array.from(this.stream.tokens, ({ logProb }) => logProb);
    return { tokens, roles: assignRoles(tokens, tokenizer, format, chat.stopTokens), logProbs };
  }
}

export interface GenerateOptions {
  signal: AbortSignal;
  /** Number of the request: with it a request without a seed has random numbers of its own. */
  number: number;
  /** Told of each choice's new text; a choice's last has its `finish`. */
  onText?: (choice: Choice, text: string) => void;
}

/** The choices of a request, whose prompts are tokens already. @throws SpaError BAD_ARGUMENT */
export function choicesOf(served: ServedModel, request: GenerationRequest): Choice[] {
  const stopTokens = stopTokensOf(served, request);
  return request.prompts.flatMap((given, place) => {
    const prompt = promptOf(served, given);
    return Array.from({ length: request.n }, (_, choice) => {
      const stream = new TextStream(served.tokenizer, request.stop, stopTokens);
      return new Choice(place * request.n + choice, prompt, stream);
    });
  });
}

function promptOf(served: ServedModel, given: GenerationRequest["prompts"][number]): TokenPiece {
  if (typeof given !== "string" && typeof given[0] === "object")
    return served.conversations.prompt(given as Parameters<typeof served.conversations.prompt>[0]);
  const tokens =
    typeof given === "string" ? served.tokenizer.encode(given) : Int32Array.from(given as readonly number[]);
  return { tokens, roles: new Uint8Array(tokens.length).fill(Role.prompt) };
}

function stopTokensOf({ chat }: ServedModel, { stopTokens, ignoreEnd }: GenerationRequest): number[] {
  return [...(ignoreEnd ? [] : chat.stopTokens), ...stopTokens];
}

/**
 * Samples all choices of a request. The first that fails ends the others.
 *
 * @throws SpaError as `Sampler.sample`
 */
export async function generate(
  served: ServedModel,
  request: GenerationRequest,
  choices: readonly Choice[],
  { signal, number, onText }: GenerateOptions,
): Promise<void> {
  const failed = new AbortController();
  const any = AbortSignal.any([signal, failed.signal]);
  // Every choice listens to it.
  setMaxListeners(0, any);
  const sampling = choices.map((choice) =>
    sampleChoice(served, request, choice, number, any, onText).catch((error) => {
      failed.abort(error);
      throw error;
    }),
  );
  const outcomes = await Promise.allSettled(sampling);
  const first = outcomes.find((outcome) => outcome.status === "rejected");
  if (first) throw failed.signal.reason;
  if (request.kind !== "chat") return;
  for (const choice of choices) {
    const text = served.forced + choice.stream.text;
    served.conversations.remember(choice.prompt.tokens, text, choice.reply(served));
  }
}

async function sampleChoice(
  served: ServedModel,
  request: GenerationRequest,
  choice: Choice,
  number: number,
  signal: AbortSignal,
  onText: GenerateOptions["onText"],
): Promise<void> {
  const { stream, prompt, index } = choice;
  const { temperature, topK, topP, seed, maxTokens } = request;
  const key = seed === undefined ? seedOf("request", number, index) : seedOf("seed", seed, index);
  const sample = await served.sampler.sample({
    prompt: prompt.tokens,
    ...(maxTokens !== undefined && { maxNewTokens: maxTokens }),
    ...{ temperature, topK, topP, signal },
    stopTokens: stopTokensOf(served, request),
    stream: key,
    onTokens: (tokens, logProbs) => {
      onText?.(choice, stream.push(tokens, logProbs));
      return stream.stopped !== null;
    },
  });
  choice.cached = sample.cached;
  const rest = stream.finish();
  const isStopped = stream.stopped !== null || sample.finish === "stop" || sample.finish === "told";
  choice.finish = isStopped ? "stop" : "length";
  onText?.(choice, rest);
}
