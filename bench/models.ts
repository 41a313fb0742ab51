import type { Dtype } from "../lib/addon/addon.ts";
import type { ModelConfigInput } from "../lib/formats/model-config.ts";
import { fullSizes, nanoShape, quickSizes, type WorkloadSizes } from "./workload.ts";

/** A model whose shape is measured, with random weights, and the work that suits it. */
export interface BenchModel {
  /** For the output. */
  title: string;
  shape: () => ModelConfigInput;
  dtype: Dtype;
  sizes: WorkloadSizes;
  quickSizes: WorkloadSizes;
  /** Benchmarks that run when none are named; undefined: all. */
  names?: readonly string[];
  rounds: number;
  quickRounds: number;
}

/** Qwen2.5-0.5B: 494 million parameters, 136 million of them in the tied embedding. */
function qwenShape(): ModelConfigInput {
  return {
    architecture: "qwen2",
    vocabularySize: 151_936,
    hiddenSize: 896,
    intermediateSize: 4864,
    layers: 24,
    heads: 14,
    keyValueHeads: 2,
    ropeTheta: 1e6,
    rmsNormEpsilon: 1e-6,
    tiedEmbeddings: true,
    maxPositions: 4096,
  };
}

const qwenSizes: WorkloadSizes = {
  rows: 32,
  promptTokens: 200,
  newTokens: 64,
  sequences: 8,
  shortest: 200,
  longest: 700,
};

/** Every model by its name on the command line. */
export const benchModels = {
  nano: {
    title: "nano model",
    shape: nanoShape,
    dtype: "float32",
    sizes: fullSizes,
    quickSizes,
    rounds: 7,
    quickRounds: 2,
  },
  "qwen2.5-0.5b": {
    title: "Qwen2.5-0.5B's shape",
    shape: qwenShape,
    dtype: "bfloat16",
    sizes: qwenSizes,
    quickSizes: { ...qwenSizes, sequences: 4 },
    names: ["sampling", "serving", "log-probs", "sft"],
    rounds: 3,
    quickRounds: 1,
  },
} as const satisfies Record<string, BenchModel>;

export type BenchModelName = keyof typeof benchModels;

/** The shape, cut to `layers` when given, and how to name it. */
export function benchShape(
  name: BenchModelName,
  layers?: number,
): { shape: ModelConfigInput; title: string } {
  const { shape: full, title } = benchModels[name];
  const shape = full();
  if (layers === undefined || layers >= shape.layers) return { shape, title };
  return { shape: { ...shape, layers }, title: `${title} cut to ${layers} of ${shape.layers} layers` };
}
