import type { Device, Dtype, Moments, NativeWorkSizes } from "../addon/addon.ts";
import { loadAddon } from "../addon/loader.ts";
import { type AdapterSettings, adapterSize, targetFeatures } from "../formats/adapter-config.ts";
import { type ModelConfig, nativeModelConfig } from "../formats/model-config.ts";

// What a model takes by itself: weights, and what training adds to each of them.

/** How a model is run; what decides its memory beside its shape. */
export interface MemorySettings {
  device: Device;
  /** CPU threads. */
  threads: number;
  dtype: Dtype;
  microBatchTokens: number;
  rolloutSlots: number;
  activationCheckpointing: boolean;
  moments: Moments;
  lora: Pick<AdapterSettings, "rank" | "targets" | "dropout"> | null;
}

/** A model's shape with what the engine makes of it. */
export interface MemoryModel {
  shape: ModelConfig;
  settings: MemorySettings;
  sizes: NativeWorkSizes;
  /** Bytes of a number in the weights' type. */
  width: number;
}

export function memoryModel(shape: ModelConfig, settings: MemorySettings): MemoryModel {
  const sizes = loadAddon().workSizes(nativeModelConfig(shape), settings.dtype, settings.device);
  return { shape, settings, sizes, width: settings.dtype === "float32" ? 4 : 2 };
}

/** Widths of a layer's projections, in numbers a token. */
export function layerWidths({
  hiddenSize,
  intermediateSize,
  heads,
  keyValueHeads,
  headDimension,
}: ModelConfig) {
  const query = heads * headDimension;
  const keyValue = keyValueHeads * headDimension;
  return { hidden: hiddenSize, inner: intermediateSize, query, keyValue, qkv: query + 2 * keyValue };
}

/** Weights of a decoder without value head. */
export function parameterCount(shape: ModelConfig): number {
  const { layers, vocabularySize, headDimension } = shape;
  const { hidden, inner, query, keyValue, qkv } = layerWidths(shape);
  const biases = shape.architecture === "qwen2" || shape.attentionBias ? qkv : 0;
  const outputBiases = (shape.attentionBias ? hidden : 0) + (shape.mlpBias ? 2 * inner + hidden : 0);
  const norms = 2 * hidden + (shape.architecture === "qwen3" ? 2 * headDimension : 0);
  const layer = 2 * hidden * (query + keyValue) + biases + outputBiases + 3 * hidden * inner + norms;
  const embeddings = vocabularySize * hidden * (shape.tiedEmbeddings ? 1 : 2);
  return layers * layer + embeddings + hidden;
}

/** Weights that an update changes: all of them, or the adapter's. */
export function trainedParameters({ shape, settings }: MemoryModel): number {
  return settings.lora === null ? parameterCount(shape) : adapterSize(shape, settings.lora).parameters;
}

/** Bytes of the models of a stage: trained ones and frozen ones. With adapters they share one backbone. */
export function weightBytes(model: MemoryModel, models: number): number {
  const { shape, settings, sizes, width } = model;
  const whole = parameterCount(shape) * width + sizes.packedBytes + rotaryBytes(shape);
  if (settings.lora === null) return models * whole;
  const adapter =
    adapterSize(shape, settings.lora).parameters * width + adapterPackedBytes(model, settings.lora);
  return whole + models * (adapter + rotaryBytes(shape));
}

/** Copies of an adapter's matrices in the layout of the CPU kernels (packed_size in cpu/table.h): float32, in panels of 16. */
function adapterPackedBytes(
  { shape, sizes }: MemoryModel,
  { rank, targets }: NonNullable<MemorySettings["lora"]>,
): number {
  const features = targetFeatures(shape);
  const packed = (inputs: number, outputs: number) =>
    inputs * outputs <= sizes.packedElements ? 4 * inputs * 16 * Math.ceil(outputs / 16) : 0;
  const layer = targets.reduce((sum, target) => {
    const { inputs, outputs } = features[target];
    return sum + packed(inputs, rank) + packed(rank, outputs);
  }, 0);
  return shape.layers * layer;
}

/** Tables of cosines and sines of the positions in use; 512 at least, doubled when they grow. */
function rotaryBytes({ headDimension, maxPositions }: ModelConfig): number {
  return Math.min(maxPositions, 1024) * headDimension * 4;
}

/** Per trained weight: master weights in float32 beside bfloat16 ones. */
export function masterBytes(model: MemoryModel, trained: number): number {
  return model.settings.dtype === "float32" ? 0 : 4 * trained * trainedParameters(model);
}

/** Both moments: float32, or codes of a byte with a scale for every 256. A critic's untied head has no codes. */
export function momentBytes(model: MemoryModel, trained: number): number {
  const { shape, settings } = model;
  const weights = trained * trainedParameters(model);
  if (settings.moments === "float32") return 8 * weights;
  const heads = shape.tiedEmbeddings || settings.lora !== null ? 0 : Math.max(trained - 1, 0);
  return 2 * (1 + 4 / 256) * (weights - heads * shape.vocabularySize * shape.hiddenSize);
}

/** Float32 gradients; small models have a buffer for each thread. */
export function gradientBytes(model: MemoryModel, trained: number): number {
  const { sizes, settings } = model;
  return 4 * trained * trainedParameters(model) * (sizes.sideBySide ? settings.threads : 1);
}

/** The pool of keys and values: as large as full slots need. */
export function cacheBytes({ shape, sizes, width }: MemoryModel, slots: number, maxTokens: number): number {
  const blocks = slots * Math.ceil(maxTokens / sizes.cacheBlockTokens);
  const { keyValue } = layerWidths(shape);
  return blocks * sizes.cacheBlockTokens * shape.layers * 2 * keyValue * width;
}
