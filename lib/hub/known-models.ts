import type { ModelConfigInput, RopeScaling } from "../formats/model-config.ts";

// Shapes of models that presets and documents name, as their published config.json files have them: what a run takes
// can then be estimated before anything is downloaded.

const llama3Scaling: RopeScaling = {
  kind: "llama3",
  factor: 32,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalMaxPositions: 8192,
};

const qwen25 = {
  architecture: "qwen2",
  vocabularySize: 151_936,
  keyValueHeads: 2,
  ropeTheta: 1e6,
  rmsNormEpsilon: 1e-6,
  tiedEmbeddings: true,
  maxPositions: 32_768,
  beginToken: 151_643,
  endTokens: [151_645, 151_643],
} as const;

const qwen3 = {
  architecture: "qwen3",
  vocabularySize: 151_936,
  layers: 28,
  heads: 16,
  keyValueHeads: 8,
  headDimension: 128,
  ropeTheta: 1e6,
  rmsNormEpsilon: 1e-6,
  tiedEmbeddings: true,
  maxPositions: 40_960,
  beginToken: 151_643,
  endTokens: [151_645, 151_643],
} as const;

const llama32 = {
  architecture: "llama",
  vocabularySize: 128_256,
  keyValueHeads: 8,
  ropeTheta: 5e5,
  ropeScaling: llama3Scaling,
  rmsNormEpsilon: 1e-5,
  tiedEmbeddings: true,
  maxPositions: 131_072,
  beginToken: 128_000,
  endTokens: [128_001, 128_008, 128_009],
} as const;

type Shape = Readonly<Omit<ModelConfigInput, "endTokens">> & { readonly endTokens: readonly number[] };

const shapes = {
  "Qwen/Qwen2.5-0.5B-Instruct": { ...qwen25, hiddenSize: 896, intermediateSize: 4864, layers: 24, heads: 14 },
  "Qwen/Qwen2.5-1.5B-Instruct": {
    ...qwen25,
    hiddenSize: 1536,
    intermediateSize: 8960,
    layers: 28,
    heads: 12,
  },
  "Qwen/Qwen2.5-3B-Instruct": {
    ...qwen25,
    hiddenSize: 2048,
    intermediateSize: 11_008,
    layers: 36,
    heads: 16,
  },
  "Qwen/Qwen3-0.6B": { ...qwen3, hiddenSize: 1024, intermediateSize: 3072 },
  "Qwen/Qwen3-1.7B": { ...qwen3, hiddenSize: 2048, intermediateSize: 6144 },
  "meta-llama/Llama-3.2-1B-Instruct": {
    ...llama32,
    hiddenSize: 2048,
    intermediateSize: 8192,
    layers: 16,
    heads: 32,
    headDimension: 64,
  },
  "meta-llama/Llama-3.2-3B-Instruct": {
    ...llama32,
    hiddenSize: 3072,
    intermediateSize: 8192,
    layers: 28,
    heads: 24,
    headDimension: 128,
  },
} satisfies Record<string, Shape>;

/** Shapes by Hub id. */
export const knownModels: Readonly<Record<string, Shape>> = shapes;
