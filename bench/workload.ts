import type { ModelConfigInput } from "../lib/formats/model-config.ts";
import { SeededGenerator } from "../lib/rollout/seeded-generator.ts";
import { nanoTokenizer } from "../lib/text/nano-tokenizer.ts";

/** The nano model's shape with the nano tokenizer's vocabulary. */
export function nanoShape(): ModelConfigInput {
  return {
    architecture: "qwen2",
    vocabularySize: nanoTokenizer().vocabularySize,
    hiddenSize: 64,
    intermediateSize: 176,
    layers: 4,
    heads: 4,
    keyValueHeads: 2,
    ropeTheta: 1e4,
    rmsNormEpsilon: 1e-6,
    tiedEmbeddings: true,
    maxPositions: 4096,
  };
}

/** Sizes of the benchmarks' work; those of FrozenLake under the nano model. */
export interface WorkloadSizes {
  /** Sampling: rows, tokens of each prompt, new tokens of each row. */
  rows: number;
  promptTokens: number;
  newTokens: number;
  /** Scoring and training: trajectories, and the range of their lengths. */
  sequences: number;
  shortest: number;
  longest: number;
}

export const fullSizes: WorkloadSizes = {
  rows: 256,
  promptTokens: 30,
  newTokens: 70,
  sequences: 32,
  shortest: 100,
  longest: 500,
};

export const quickSizes: WorkloadSizes = { ...fullSizes, rows: 64, newTokens: 20, sequences: 8 };

/** Trajectories laid end to end, with all that the losses want. Everything is aligned with `tokens`. */
export interface SequenceBatch {
  tokens: Int32Array;
  offsets: Uint32Array;
  /** About six tokens in ten, as where the agent's turns alternate with the environment's. Never a row's first. */
  mask: Uint8Array;
  oldLogProbs: Float32Array;
  advantages: Float32Array;
  oldValues: Float32Array;
  returns: Float32Array;
}

/** Prompts of equal length, laid end to end. */
export function promptBatch(
  sizes: WorkloadSizes,
  vocabulary: number,
): { tokens: Int32Array; offsets: Uint32Array } {
  const random = new SeededGenerator("bench", "prompts");
  const tokens = Int32Array.from({ length: sizes.rows * sizes.promptTokens }, () =>
    random.integer(vocabulary),
  );
  const offsets = Uint32Array.from({ length: sizes.rows + 1 }, (_, row) => row * sizes.promptTokens);
  return { tokens, offsets };
}

export function sequenceBatch(sizes: WorkloadSizes, vocabulary: number): SequenceBatch {
  const random = new SeededGenerator("bench", "sequences");
  const offsets = new Uint32Array(sizes.sequences + 1);
  for (let row = 0; row < sizes.sequences; row++) {
    offsets[row + 1] = offsets[row] + sizes.shortest + random.integer(sizes.longest - sizes.shortest + 1);
  }
  const total = offsets[sizes.sequences];
  const noise = (scale: number) =>
    Float32Array.from({ length: total }, () => scale * (2 * random.random() - 1));
  const firsts = new Set(offsets);
  return {
    tokens: Int32Array.from({ length: total }, () => random.integer(vocabulary)),
    offsets,
    mask: turnMask(total, firsts),
    oldLogProbs: Float32Array.from(noise(0.1), (value) => value - Math.log(vocabulary)),
    advantages: noise(1),
    oldValues: noise(0.1),
    returns: noise(1),
  };
}

/** Spans of 60 trained tokens with 40 between them. */
function turnMask(total: number, firsts: ReadonlySet<number>): Uint8Array {
  return Uint8Array.from({ length: total }, (_, index) => (index % 100 >= 40 && !firsts.has(index) ? 1 : 0));
}

/** Row by row, as the peer takes it. */
export function rowsOf(values: ArrayLike<number>, offsets: Uint32Array): number[][] {
  return Array.from({ length: offsets.length - 1 }, (_, row) =>
    Array.from({ length: offsets[row + 1] - offsets[row] }, (_, k) => values[offsets[row] + k]),
  );
}
