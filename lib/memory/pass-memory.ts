import { type AdapterTarget, targetFeatures } from "../formats/adapter-config.ts";
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

/** Rows of a product's inner dimension that tiles take at a time (depth_steps in tile_linear.cc). */
const TILE_DEPTH = 2432;

/** Bytes of the head's chunk and its gradient, for `tokens` tokens. */
function headBytes(
  { shape, sizes, width, settings }: MemoryModel,
  tokens: number,
  training: boolean,
): number {
  const { vocabularySize: vocabulary, hiddenSize } = shape;
  if (sizes.tiles) return tileHeadBytes(hiddenSize, tokens, training);
  const rows = Math.min(Math.max(Math.floor(sizes.logits / vocabulary), 1), tokens);
  // float32 logits beside those in the weights' type; on a GPU, beside a temporary of ATen's.
  const perLogit = settings.device === "cuda" ? 8 : width === 2 ? 6 : 4;
  const logits = rows * (vocabulary * perLogit + hiddenSize * width);
  if (!training) return logits;
  // Their gradient is in the weights' type when it meets the hidden states.
  return Math.max(logits, rows * vocabulary * width + summandBytes(vocabulary * hiddenSize, width));
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

/** Whether the CPU's row kernels take a matrix as bfloat16: they compute in float32, and so widen operands and results. */
function isWidened({ sizes, width }: MemoryModel, inputs: number, outputs: number): boolean {
  return width === 2 && inputs * outputs <= sizes.packedElements;
}

/** Bytes a token that a product x W^T (+ residual) needs beside x and its result. */
function productBytes(model: MemoryModel, inputs: number, outputs: number, residual = false): number {
  if (isWidened(model, inputs, outputs)) return 4 * (inputs + outputs * (residual ? 2 : 1));
  return model.sizes.tiles ? 2 * inputs : 0;
}

/** What the CPU's attention widens, in bytes a token: queries, keys and values, and its result. */
function widenedAttention({ shape, settings, width }: MemoryModel): number {
  const { query, qkv } = layerWidths(shape);
  return width === 2 && settings.device === "cpu" ? 4 * (query + qkv) : 0;
}

/** The dropped-out copy of an adapter's input, in bytes a token, and what making it takes: the CPU does so in float32. */
function dropoutBytes({ settings, width }: MemoryModel, inputs: number): { copy: number; making: number } {
  const copy = settings.lora !== null && settings.lora.dropout > 0 ? inputs * width : 0;
  return { copy, making: width === 2 && settings.device === "cpu" ? 5 * copy : copy };
}

/** Bytes a token that adapters on `targets` need at most, one after the other, beside what the projections need. */
function adapterBytes(
  model: MemoryModel,
  targets: readonly AdapterTarget[],
  work: "inference" | "forward" | "backward",
): number {
  const { lora } = model.settings;
  if (lora === null) return 0;
  const features = targetFeatures(model.shape);
  const each = targets.map((target) => {
    if (!lora.targets.includes(target)) return 0;
    const { inputs, outputs } = features[target];
    const widensInput = isWidened(model, inputs, lora.rank);
    const { copy, making } = work === "inference" ? { copy: 0, making: 0 } : dropoutBytes(model, inputs);
    const input = Math.max(making, copy + (widensInput ? 4 * inputs : 0));
    const widensOutput = isWidened(model, lora.rank, outputs);
    if (work !== "backward") return Math.max(input, widensOutput ? 6 * outputs : 0);
    const gradient = inputs * model.width;
    return Math.max(
      input,
      gradient + Math.max(making, widensInput ? 4 * inputs : 0),
      widensOutput ? 4 * outputs : 0,
    );
  });
  return Math.max(0, ...each);
}

/** Bytes a token that a layer takes at most, in and out included, where no backward pass follows. */
function inferenceBytes(model: MemoryModel): number {
  const { shape, settings, width } = model;
  const { hidden, inner, query, qkv } = layerWidths(shape);
  const lowRank = settings.lora === null ? 0 : settings.lora.rank * settings.lora.targets.length * width;
  const adapter = (...targets: AdapterTarget[]) => adapterBytes(model, targets, "inference");
  const moments = [
    (2 * hidden + qkv) * width + productBytes(model, hidden, qkv),
    (hidden + qkv + query) * width + widenedAttention(model),
    (2 * hidden + query) * width + productBytes(model, query, hidden, true),
    (3 * hidden + 2 * inner) * width +
      Math.max(productBytes(model, hidden, 2 * inner), adapter("gate_proj", "up_proj")),
    (2 * hidden + 3 * inner) * width,
    (3 * hidden + inner) * width + Math.max(productBytes(model, inner, hidden, true), adapter("down_proj")),
  ];
  return Math.max(...moments) + lowRank;
}

/** Bytes that a training pass of `count` tokens needs beside what layers keep, while the last layer runs forward. */
function forwardBytes(model: MemoryModel, count: number, keep: "everything" | "products"): number {
  const { hidden, inner } = layerWidths(model.shape);
  const { width } = model;
  const adapter = (...targets: AdapterTarget[]) => adapterBytes(model, targets, "forward");
  const normed = keep === "everything" ? -inner * width : hidden * width;
  const activated = keep === "everything" ? 0 : inner * width;
  const moments = [
    widenedAttention(model) - (hidden + 2 * inner) * width,
    adapter("q_proj", "k_proj", "v_proj", "o_proj") - 2 * inner * width,
    normed + Math.max(productBytes(model, hidden, 2 * inner), adapter("gate_proj", "up_proj")),
    activated + hidden * width + Math.max(productBytes(model, inner, hidden, true), adapter("down_proj")),
  ];
  return count * Math.max(...moments);
}

/** The same while its backward pass runs, the gradients of the layer's output and of the last hidden states included. */
function backwardBytes(model: MemoryModel, count: number, keep: "everything" | "products"): number {
  const { shape, settings, sizes, width } = model;
  const { hidden, inner, query, qkv } = layerWidths(shape);
  const full = settings.lora === null;
  const adapter = (...targets: AdapterTarget[]) => count * adapterBytes(model, targets, "backward");
  /** Beside the gradients of output and input. */
  const inputGradient = (inputs: number, outputs: number) => {
    if (isWidened(model, inputs, outputs)) return count * 4 * (inputs + outputs);
    if (!sizes.tiles) return 0;
    const sums = outputs > TILE_DEPTH ? count * 4 * inputs : 0;
    return sums + 2 * inputs * Math.min(outputs, TILE_DEPTH);
  };
  const weightGradient = (inputs: number, outputs: number) => {
    if (isWidened(model, inputs, outputs)) return count * 4 * (inputs + outputs);
    if (!full) return 0;
    return sizes.tiles ? 2 * inputs * Math.min(count, TILE_DEPTH) : summandBytes(inputs * outputs, width);
  };
  // Outputs of norms and SwiGLU are there already, or made again; either way they are freed on the way.
  const again = keep === "products" ? 1 : 0;
  const kept = 1 - again;
  const down = count * (1 + again) * inner * width;
  const gateUp = count * (again * hidden - kept * inner) * width;
  const attention = (query - 2 * inner - kept * (inner + hidden)) * width;
  const widened = widenedAttention(model);
  const moments = [
    down + inputGradient(inner, hidden),
    down + weightGradient(inner, hidden),
    down + adapter("down_proj"),
    count * (3 - kept) * inner * width,
    gateUp + weightGradient(hidden, 2 * inner),
    gateUp + count * hidden * width + inputGradient(hidden, 2 * inner),
    gateUp + count * hidden * width + adapter("gate_proj", "up_proj"),
    count * (attention + qkv * width + 2 * widened),
  ];
  return count * 2 * hidden * width + Math.max(...moments);
}

/** ATen's attention on a GPU, in float32: scores of one sequence, of some queries at a time, and operands head by head. */
function attentionBytes(
  { shape, settings, sizes, width }: MemoryModel,
  row: number,
  training: boolean,
): number {
  if (settings.device === "cpu") return 0;
  const { query, qkv } = layerWidths(shape);
  const scores = Math.min(shape.heads * row * row, sizes.attentionScores);
  const widened = width === 2 ? 4 * (qkv + (training ? query : 0)) : 0;
  return scores * (training ? 12 : 8) + row * (query * (training ? 24 : 12) + widened);
}

/** A decode step on a GPU: the caches of some slots, padded to the longest, as they are and in float32, and their scores. */
function decodeBytes({ shape, settings, sizes, width }: MemoryModel, slots: number, row: number): number {
  if (settings.device === "cpu") return 0;
  const { keyValue } = layerWidths(shape);
  const length = Math.ceil(row / sizes.cacheBlockTokens) * sizes.cacheBlockTokens;
  const group = Math.min(slots, Math.max(1, Math.floor(sizes.attentionScores / 2 / (length * keyValue))));
  return group * length * (keyValue * (2 * width + 8 + (width === 2 ? 2 : 0)) + shape.heads * 8);
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
  const { hidden } = layerWidths(shape);
  const attention = attentionBytes(model, row, true);
  const checkpoints = settings.activationCheckpointing;
  const keep = sizes.sideBySide && !checkpoints ? "everything" : "products";
  const layers = checkpoints
    ? (shape.layers - 1) * hidden * width + keptBytes(model, keep)
    : shape.layers * keptBytes(model, keep);
  // A layer is run again under the gradients of what follows it.
  const forward = forwardBytes(model, count, keep) + (checkpoints ? count * 2 * hidden * width : 0);
  const body = parts * (count * layers + Math.max(backwardBytes(model, count, keep), forward) + attention);
  const kept = checkpoints ? shape.layers * hidden * width : layers;
  // While the head runs: its input, the gradient of that, and the chosen rows.
  const atHead = parts * count * (kept + 4 * hidden * width);
  const logits = policy ? parts * headBytes(model, count, settings.lora === null) : 0;
  return atHead + logits > body ? { activations: atHead, logits } : { activations: body, logits: 0 };
}

/** A pass without gradients, over at most `tokens` tokens at a time. */
export function inferencePass(model: MemoryModel, tokens: number, row: number, head: boolean): PassMemory {
  const { shape, sizes, width } = model;
  const { parts, count } = cut(model, microBatch(tokens, sizes.inferenceTokens, row), row);
  const { hidden } = layerWidths(shape);
  const body = parts * (count * inferenceBytes(model) + attentionBytes(model, row, false));
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
  const activations = Math.max(prompts.activations, decodeBytes(model, slots, row));
  return logits > activations ? { activations: 0, logits } : { activations, logits: 0 };
}
