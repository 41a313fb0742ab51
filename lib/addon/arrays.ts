import type { Aggregation, KlEstimator, LossKind, LossTerms } from "./loss-fields.ts";

/** spa::LossOptions: every field, whatever the kind reads. A lower bound is always there. */
export type NativeLoss = { kind: LossKind; clipLow: number } & LossTerms;

/** What the addon computes on plain arrays, without an engine. */
export interface ArrayFunctions {
  gae(batch: NativeAdvantageBatch, gamma: number, lambda: number): NativeAdvantages;
  biLevelGae(
    batch: NativeAdvantageBatch & { turnEnds: Uint32Array },
    gamma: number,
    lambda: number,
    highLevelGamma: number,
  ): NativeAdvantages;
  whiten(values: Float32Array, mask: Uint8Array): Float32Array;

  /** The losses of the trainer on plain arrays, with gradients; for tests against reference values. */
  policyLoss(batch: NativePolicyLossBatch, loss: NativeLoss): NativeArrayLoss;
  valueLoss(batch: NativeValueLossBatch, loss: NativeLoss): NativeArrayLoss;
  aggregate(values: Float32Array, mask: Uint8Array, offsets: Uint32Array, mode: Aggregation): number;
  klPenalty(
    logProbs: Float32Array,
    reference: Float32Array,
    estimator: KlEstimator,
  ): { kl: Float32Array; gradient: Float32Array };
}

interface NativeAdvantageBatch {
  rewards: Float32Array;
  values: Float32Array;
  mask: Uint8Array;
  offsets: Uint32Array;
}

interface NativeAdvantages {
  advantages: Float32Array;
  returns: Float32Array;
}

interface NativePolicyLossBatch {
  logProbs: Float32Array;
  oldLogProbs: Float32Array;
  advantages: Float32Array;
  mask: Uint8Array;
  offsets: Uint32Array;
}

interface NativeValueLossBatch {
  values: Float32Array;
  oldValues: Float32Array;
  returns: Float32Array;
  mask: Uint8Array;
  offsets: Uint32Array;
}

/** A loss of plain arrays: what a trainer's step would say of it, and its gradient by token. */
interface NativeArrayLoss {
  figures: Readonly<Record<string, number>>;
  gradient: Float32Array;
}
