import type { ModelConfig } from "../lib/formats/model-config.ts";

// Floating-point operations that the mathematics asks for, two per multiply-add. What an implementation computes again
// (activations, logits) or in vain (padding, the masked half of attention) does not count.

/** Weights that take part in matrix products: all but embeddings, norms and biases, the head included. */
function productWeights(config: ModelConfig): number {
  const { hiddenSize, intermediateSize, layers, heads, keyValueHeads, headDimension, vocabularySize } =
    config;
  const attention = hiddenSize * headDimension * (2 * heads + 2 * keyValueHeads);
  return layers * (attention + 3 * hiddenSize * intermediateSize) + hiddenSize * vocabularySize;
}

/** Causal attention over `length` tokens that follow `before` others: scores and weighted sums. */
function attentionFlops(config: ModelConfig, length: number, before: number): number {
  const pairs = length * before + (length * (length + 1)) / 2;
  return 4 * config.layers * config.heads * config.headDimension * pairs;
}

/** One forward pass over packed rows. */
export function forwardFlops(config: ModelConfig, offsets: ArrayLike<number>): number {
  let flops = 0;
  for (let row = 0; row + 1 < offsets.length; row++) {
    const length = offsets[row + 1] - offsets[row];
    flops += 2 * productWeights(config) * length + attentionFlops(config, length, 0);
  }
  return flops;
}

/** Forward and backward: the gradient of a product is two products of the same size. */
export function trainingFlops(config: ModelConfig, offsets: ArrayLike<number>): number {
  return 3 * forwardFlops(config, offsets);
}

/** Prompts of `prompt` tokens and `newTokens` sampled after each; the last one is not fed back. */
export function samplingFlops(config: ModelConfig, rows: number, prompt: number, newTokens: number): number {
  const fed = prompt + newTokens - 1;
  const body = productWeights(config) - config.hiddenSize * config.vocabularySize;
  const head = 2 * config.hiddenSize * config.vocabularySize * newTokens;
  return rows * (2 * body * fed + attentionFlops(config, fed, 0) + head);
}
