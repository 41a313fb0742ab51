import type { Finish } from "../engine/session.ts";

/** A prompt to go on from. */
export interface SampleRequest {
  /** [tokens], at least one, with room for one more. The array stays as it is. */
  prompt: Int32Array;
  /** At most so many new tokens; by default as many as there is room for. */
  maxNewTokens?: number;
  /** 1 by default; 0 is greedy. */
  temperature?: number;
  /** Sample from the k likeliest tokens only; 0 or absent: from all. */
  topK?: number;
  /** Sample from the fewest likeliest tokens whose probabilities reach this; 1 or absent: from all. */
  topP?: number;
  /** Tokens that end the sample. */
  stopTokens?: ArrayLike<number>;
  /** Key of the random stream: with the sampler's seed it decides what is drawn, whoever else samples. */
  stream: number;
  /** Told of new tokens every few steps, with their log-probs; what it returns true for is the last. */
  onTokens?: (tokens: Int32Array, logProbs: Float32Array) => boolean | undefined;
  /** Takes the request out at the next opportunity. */
  signal?: AbortSignal | undefined;
}

/** What {@link Sampler.sample} resolves to. */
export interface Sample {
  /** The stop token included. */
  tokens: Int32Array;
  /** log_softmax(logits / temperature) of each token. At temperature 0 of the logits. */
  logProbs: Float32Array;
  /** `told`: {@link SampleRequest.onTokens} has ended it. */
  finish: Finish | "told";
  /** Tokens of the prompt whose cache was found. */
  cached: number;
}
