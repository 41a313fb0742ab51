import { layerWidths, type MemoryModel } from "./model-memory.ts";

// What tokens take on their way through the model. The formulas follow native/engine/decoder.cc and train_pass.cc: what a
// layer keeps for the backward pass (Keep), and what exists for a moment while a kernel works. Kernels read bfloat16 as it
// is, but for the CPU's attention, which widens its operands; AMX tiles want one side of a product packed.

/** What a pass holds at its peak, in bytes. */
export interface PassMemory {
  /** Kept for the backward pass, and what kernels need while they run. */
  activations: number;
  /** Chunks of logits and what is made of them. */
  logits: number;
}

/** The largest bfloat16 matrix that the CPU's row kernels take (prefers_packed in linear.cc). */
const ROW_KERNEL_ELEMENTS = 2 ** 16;

/** Bytes of the head's chunk and its gradient, for `tokens` tokens. */
function headBytes(
  { shape, sizes, width, settings }: MemoryModel,
  tokens: number,
  training: boolean,
): number {
  const { vocabularySize: vocabulary, hiddenSize } = shape;
  if (sizes.tiles) return tileHeadBytes(hiddenSize, tokens, training);
  const rows = Math.min(Math.max(Math.floor(sizes.logits / vocabulary), 1), tokens);
  // float32 logits beside those in the weights' type; on a GPU the temporaries of ATen's softmax.
  const perLogit = (settings.device === "cuda" ? 16 : 4) + (width === 2 ? 2 : 0);
  return (
    rows * (vocabulary * perLogit + hiddenSize * width) +
    (training ? summandBytes(shape.vocabularySize * hiddenSize, width) : 0)
  );
}

/** On tiles (tile_head.cc): packed tokens; then gradients of 2048 x 2048 logits, twice, and of the tokens in float32. */
function tileHeadBytes(hidden: number, tokens: number, training: boolean): number {
  const block = 2048;
  const count = Math.ceil(Math.min(tokens, block) / 32) * 32;
  const packed = 2 * count * hidden;
  return training
    ? 2 * packed + 2 * block * (2 * count + 32) + 2 * hidden * (block + 32) + 4 * hidden * count
    : packed;
}

/** A weight's gradient in bfloat16 before it is added to the float32 one, a part of the matrix at a time. */
function summandBytes(elements: number, width: number): number {
  return width === 2 ? Math.min(elements, 2 ** 23) * 6 : 0;
}

/** Bytes a token that a layer keeps for its backward pass. */
function keptBytes(model: MemoryModel, keep: "everything" | "products"): number {
  const { shape, settings, width } = model;
  const { hidden, inner, query, keyValue, qkv } = layerWidths(shape);
  const normed =
    shape.architecture === "qwen3"
      ? (query + keyValue) * width + ((query + keyValue) / shape.headDimension) * 4
      : 0;
  const lowRank = settings.lora === null ? 0 : settings.lora.rank * settings.lora.targets.length * width;
  const products = (2 * hidden + qkv + query + 2 * inner) * width + 4 * (2 + shape.heads) + normed + lowRank;
  return keep === "products" ? products : products + (2 * hidden + inner) * width;
}

/** Bytes a token that a layer's kernels need at most beside what is kept, forward and backward. */
function workBytes({ shape, settings, sizes, width }: MemoryModel): { forward: number; backward: number } {
  const { hidden, inner, query, qkv } = layerWidths(shape);
  if (width === 4 || settings.device === "cuda") {
    return { forward: (inner + 2 * hidden) * width, backward: (3 * inner + 2 * hidden) * width };
  }
  const widened = 4 * (qkv + query);
  // The row kernels of small matrices compute in float32: a product stands beside its bfloat16 copy.
  const lowRank = settings.lora !== null && settings.lora.rank * inner <= ROW_KERNEL_ELEMENTS ? 6 * inner : 0;
  const wide = sizes.packedBytes > 0 ? 8 * inner + 4 * hidden : lowRank;
  const packed = sizes.tiles ? 2 * inner : 0;
  const sums = sizes.tiles ? 4 * hidden : 0;
  return {
    forward: Math.max(inner * width + packed, widened + query * width, wide) + 2 * hidden * width,
    backward:
      Math.max(3 * inner * width + Math.max(packed, sums), 2 * widened + 2 * qkv) + 2 * hidden * width,
  };
}

/** ATen's attention on a GPU holds scores of one sequence, of some queries at a time, and its operands head by head. */
function attentionBytes(model: MemoryModel, row: number, training: boolean): number {
  const { shape, settings, sizes, width } = model;
  if (settings.device === "cpu") return 0;
  const scores = Math.min(shape.heads * row * row, sizes.attentionScores);
  const operand = row * shape.heads * shape.headDimension;
  return scores * (training ? 24 : 16) + operand * (3 * width + (training ? 8 : 0));
}

/** Tokens that a micro-batch holds: at most as many as there are, and never less than a row. */
function microBatch(tokens: number, budget: number, row: number): number {
  return Math.min(tokens, Math.max(budget, row));
}

/** How many threads work on a micro-batch, each on rows of its own, and the tokens that each has in hand: whole rows. */
function cut(
  { settings, sizes }: MemoryModel,
  tokens: number,
  row: number,
): { parts: number; count: number } {
  if (!sizes.sideBySide) return { parts: 1, count: tokens };
  const parts = Math.min(settings.threads, Math.ceil(tokens / row));
  const chunk = Math.max(1, Math.floor(sizes.chunkTokens / row)) * row;
  return { parts, count: Math.min(Math.ceil(tokens / parts), chunk) };
}

/**
 * The forward and backward pass of an update.
 *
 * @param tokens in the whole batch
 * @param row in its longest row
 * @param policy whether the pass has logits; a critic's has none
 */
export function trainingPass(model: MemoryModel, tokens: number, row: number, policy: boolean): PassMemory {
  const { shape, settings, sizes, width } = model;
  const { parts, count } = cut(model, microBatch(tokens, settings.microBatchTokens, row), row);
  const { hidden, inner } = layerWidths(shape);
  const matrix = settings.lora === null && !sizes.tiles ? Math.max(2 * inner * hidden, hidden * hidden) : 0;
  const work = workBytes(model);
  const products = keptBytes(model, "products");
  // The final norm's input and the gradient of its output stay while the layers run.
  const ends = 2 * hidden * width;
  const attention = attentionBytes(model, row, true);
  const layers = settings.activationCheckpointing
    ? shape.layers * hidden * width + products
    : shape.layers * keptBytes(model, sizes.sideBySide ? "everything" : "products");
  const backward = count * work.backward + summandBytes(matrix, width) + attention;
  const forward = count * work.forward + attention;
  const body = parts * (count * (layers + ends) + Math.max(backward, forward));
  const kept = settings.activationCheckpointing ? shape.layers * hidden * width : layers;
  // While the head runs: its input, the gradient of that, and the chosen rows.
  const atHead = parts * count * (kept + 4 * hidden * width);
  const logits = policy ? parts * headBytes(model, count, settings.lora === null) : 0;
  return atHead + logits > body ? { activations: atHead, logits } : { activations: body, logits: 0 };
}

/** A pass without gradients, over at most `tokens` tokens at a time. */
export function inferencePass(model: MemoryModel, tokens: number, row: number, head: boolean): PassMemory {
  const { shape, sizes, width } = model;
  const { parts, count } = cut(model, microBatch(tokens, sizes.inferenceTokens, row), row);
  const { hidden, inner } = layerWidths(shape);
  const layer = count * ((2 * hidden + 2 * inner) * width + workBytes(model).forward);
  const body = parts * (layer + attentionBytes(model, row, false));
  const atHead = parts * count * 2 * hidden * width;
  const logits = head ? parts * headBytes(model, count, false) : 0;
  return atHead + logits > body ? { activations: atHead, logits } : { activations: body, logits: 0 };
}

/** Sampling beside the cache: a pass over prompts, or the logits of one step. */
export function samplingPass(model: MemoryModel, slots: number, row: number): PassMemory {
  const { shape, settings, sizes, width } = model;
  // Prompts are not cut into chunks.
  const unchunked = { ...model, sizes: { ...sizes, sideBySide: false } };
  const prompts = inferencePass(unchunked, slots * row, Math.min(row, sizes.inferenceTokens), false);
  const parts = sizes.sideBySide ? Math.min(settings.threads, slots) : 1;
  const group = Math.min(48, Math.ceil(slots / parts));
  const rows = Math.min(group, Math.max(1, Math.floor(sizes.samplingLogits / shape.vocabularySize)));
  const logits = parts * shape.vocabularySize * (rows * (width === 2 ? 6 : 4) + 15);
  return logits > prompts.activations ? { activations: 0, logits } : prompts;
}
