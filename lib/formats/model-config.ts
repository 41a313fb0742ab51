import type { NativeModelConfig } from "../addon/addon.ts";
import {
  checkArray,
  checkBoolean,
  checkInteger,
  checkNumber,
  checkObject,
  checkOneOf,
} from "../addon/arguments.ts";
import { SpaError } from "../errors.ts";

/** The model families that one decoder covers by flags. Qwen2.5 is `"qwen2"`, Llama 3.x is `"llama"`. */
export type Architecture = "qwen2" | "qwen3" | "llama";

/** How rotary frequencies are stretched for longer contexts. */
export type RopeScaling =
  | { kind: "linear"; factor: number }
  | {
      kind: "llama3";
      factor: number;
      lowFrequencyFactor: number;
      highFrequencyFactor: number;
      originalMaxPositions: number;
    };

/** What a model must at least be told; the rest has defaults (see {@link completeModelConfig}). */
export interface ModelShape {
  vocabularySize: number;
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
}

/** The shape of a decoder. Meanings as in Hugging Face's config.json. */
export interface ModelConfig extends ModelShape {
  architecture: Architecture;
  keyValueHeads: number;
  headDimension: number;
  ropeTheta: number;
  ropeScaling: RopeScaling | null;
  rmsNormEpsilon: number;
  /** qwen3 and llama: biases on q, k, v and o. (qwen2 always has them on q, k and v only.) */
  attentionBias: boolean;
  /** llama: biases in the MLP. */
  mlpBias: boolean;
  /** The output head is the embedding. */
  tiedEmbeddings: boolean;
  /** The longest sequence, in tokens. */
  maxPositions: number;
  /** Ids for Hugging Face's files; the engine does not use them. */
  beginToken: number | null;
  endTokens: number[];
  padToken: number | null;
  /** Fields of the generation_config.json that a model came with, to be saved with it again. */
  generation: Readonly<Record<string, unknown>> | null;
  /** Fields of the config.json that a model came with and that are nothing to the engine, to be saved with it again. */
  otherFields: Readonly<Record<string, unknown>> | null;
}

export type ModelConfigInput = ModelShape & Partial<ModelConfig>;

const architectures = ["qwen2", "qwen3", "llama"] as const;

const keys = [
  "architecture",
  "vocabularySize",
  "hiddenSize",
  "intermediateSize",
  "layers",
  "heads",
  "keyValueHeads",
  "headDimension",
  "ropeTheta",
  "ropeScaling",
  "rmsNormEpsilon",
  "attentionBias",
  "mlpBias",
  "tiedEmbeddings",
  "maxPositions",
  "beginToken",
  "endTokens",
  "padToken",
  "generation",
  "otherFields",
] as const;

/** Far below what would not fit native code's 64-bit sizes in bytes. */
const maximumWeights = 2 ** 48;

/**
 * Fills in what `input` leaves out and checks everything: architecture qwen2, as many key-value heads as heads, head
 * dimension hidden / heads, RoPE theta 1e4 without scaling, epsilon 1e-6, no optional biases, tied embeddings,
 * 32768 positions.
 *
 * @throws SpaError `BAD_ARGUMENT` naming the field.
 */
export function completeModelConfig(input: ModelConfigInput): ModelConfig {
  checkObject(input, "config", keys);
  const dimension = (value: unknown, name: string) => checkInteger(value, `config.${name}`, 1, 2 ** 31 - 1);
  const vocabularySize = dimension(input.vocabularySize, "vocabularySize");
  const hiddenSize = dimension(input.hiddenSize, "hiddenSize");
  const heads = dimension(input.heads, "heads");
  const keyValueHeads = dimension(input.keyValueHeads ?? heads, "keyValueHeads");
  const architecture = checkOneOf(input.architecture ?? "qwen2", "config.architecture", architectures);
  if (heads % keyValueHeads !== 0) {
    throw bad(`config.heads (${heads}) must be a multiple of config.keyValueHeads (${keyValueHeads})`);
  }
  if (input.headDimension === undefined && hiddenSize % heads !== 0) {
    throw bad(
      `config.hiddenSize (${hiddenSize}) must be a multiple of config.heads (${heads}), or give config.headDimension`,
    );
  }
  const headDimension = dimension(input.headDimension ?? hiddenSize / heads, "headDimension");
  if (headDimension % 2 !== 0)
    throw bad(`config.headDimension (${headDimension}) must be even: RoPE rotates pairs`);
  const intermediateSize = dimension(input.intermediateSize, "intermediateSize");
  const layers = dimension(input.layers, "layers");
  const inLayer = hiddenSize * (2 * (heads + keyValueHeads) * headDimension + 3 * intermediateSize);
  const weights = 2 * vocabularySize * hiddenSize + layers * inLayer;
  if (weights > maximumWeights) {
    throw bad(`config describes a model of ${weights.toPrecision(2)} weights, more than any device holds`);
  }
  const attentionBias = checkBoolean(input.attentionBias ?? false, "config.attentionBias");
  const mlpBias = checkBoolean(input.mlpBias ?? false, "config.mlpBias");
  if (attentionBias && architecture === "qwen2") {
    throw bad("config.attentionBias does not apply to qwen2, which always has biases on q, k and v");
  }
  if (mlpBias && architecture !== "llama") throw bad(`config.mlpBias does not apply to ${architecture}`);
  const tokenId = (value: unknown, name: string) =>
    checkInteger(value, `config.${name}`, 0, vocabularySize - 1);
  return {
    architecture,
    vocabularySize,
    hiddenSize,
    intermediateSize,
    layers,
    heads,
    keyValueHeads,
    headDimension,
    ropeTheta: checkNumber(input.ropeTheta ?? 1e4, "config.ropeTheta", { above: 0 }),
    ropeScaling: checkRopeScaling(input.ropeScaling ?? null),
    rmsNormEpsilon: checkNumber(input.rmsNormEpsilon ?? 1e-6, "config.rmsNormEpsilon", {
      above: 0,
      below: 1,
    }),
    attentionBias,
    mlpBias,
    tiedEmbeddings: checkBoolean(input.tiedEmbeddings ?? true, "config.tiedEmbeddings"),
    maxPositions: dimension(input.maxPositions ?? 32768, "maxPositions"),
    beginToken: input.beginToken == null ? null : tokenId(input.beginToken, "beginToken"),
    endTokens: Array.from(checkArray(input.endTokens ?? [], "config.endTokens", "list"), (id, i) =>
      tokenId(id, `endTokens[${i}]`),
    ),
    padToken: input.padToken == null ? null : tokenId(input.padToken, "padToken"),
    generation: checkFields(input.generation ?? null, "generation"),
    otherFields: checkFields(input.otherFields ?? null, "otherFields"),
  };
}

function checkFields(fields: ModelConfig["generation"], name: string): ModelConfig["generation"] {
  if (fields === null) return null;
  checkObject(fields, `config.${name}`);
  try {
    JSON.stringify(fields);
  } catch (error) {
    throw bad(`config.${name} cannot be written as JSON: ${(error as Error).message}`);
  }
  return fields;
}

function checkRopeScaling(scaling: RopeScaling | null): RopeScaling | null {
  if (scaling === null) return null;
  checkObject(scaling, "config.ropeScaling");
  const positive = (value: unknown, name: string) =>
    checkNumber(value, `config.ropeScaling.${name}`, { above: 0 });
  const kind = checkOneOf(scaling.kind, "config.ropeScaling.kind", ["linear", "llama3"]);
  const factor = checkNumber(scaling.factor, "config.ropeScaling.factor", { atLeast: 1 });
  if (scaling.kind === "linear") return { kind: "linear", factor };
  const lowFrequencyFactor = positive(scaling.lowFrequencyFactor, "lowFrequencyFactor");
  const highFrequencyFactor = positive(scaling.highFrequencyFactor, "highFrequencyFactor");
  if (highFrequencyFactor <= lowFrequencyFactor) {
    throw bad(
      "config.ropeScaling.highFrequencyFactor must be greater than config.ropeScaling.lowFrequencyFactor",
    );
  }
  const name = "config.ropeScaling.originalMaxPositions";
  const originalMaxPositions = checkInteger(scaling.originalMaxPositions, name, 1, 2 ** 31 - 1);
  return { kind, factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions } as RopeScaling;
}

/** The flags that the engine works with. */
export function nativeModelConfig(config: ModelConfig): NativeModelConfig {
  const scaling = config.ropeScaling;
  const llama3 = scaling?.kind === "llama3" ? scaling : undefined;
  return {
    vocab: config.vocabularySize,
    hidden: config.hiddenSize,
    intermediate: config.intermediateSize,
    layers: config.layers,
    heads: config.heads,
    kvHeads: config.keyValueHeads,
    headDim: config.headDimension,
    ropeTheta: config.ropeTheta,
    rmsEps: config.rmsNormEpsilon,
    ropeScaling: {
      kind: scaling?.kind ?? "none",
      factor: scaling?.factor ?? 1,
      lowFrequencyFactor: llama3?.lowFrequencyFactor ?? 1,
      highFrequencyFactor: llama3?.highFrequencyFactor ?? 4,
      originalMaxPositions: llama3?.originalMaxPositions ?? config.maxPositions,
    },
    qkvBias: config.architecture === "qwen2" || config.attentionBias,
    oBias: config.attentionBias,
    mlpBias: config.mlpBias,
    qkNorm: config.architecture === "qwen3",
    tied: config.tiedEmbeddings,
    maxPositions: config.maxPositions,
  };
}

function bad(message: string): SpaError {
  return new SpaError("BAD_ARGUMENT", message);
}
