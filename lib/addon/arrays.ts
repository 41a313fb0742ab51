export type Aggregation = "token-mean" | "seq-mean-token-mean" | "seq-mean-token-sum";
export type KlEstimator = "k1" | "abs" | "k2" | "k3";

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
  policyLoss(batch: NativePolicyLossBatch, loss: NativePolicyLossOptions): NativePolicyLoss;
  valueLoss(batch: NativeValueLossBatch, loss: NativeValueLossOptions): NativeValueLoss;
  aggregate(values: Float32Array, mask: Uint8Array, offsets: Uint32Array, mode: Aggregation): number;
  klPenalty(
    logProbs: Float32Array,
    reference: Float32Array,
    estimator: KlEstimator,
  ): { kl: Float32Array; gradient: Float32Array };
}

export interface NativeAdvantageBatch {
  rewards: Float32Array;
  values: Float32Array;
  mask: Uint8Array;
  offsets: Uint32Array;
}

export interface NativeAdvantages {
  advantages: Float32Array;
  returns: Float32Array;
}

export interface NativePolicyLossBatch {
  logProbs: Float32Array;
  oldLogProbs: Float32Array;
  advantages: Float32Array;
  mask: Uint8Array;
  offsets: Uint32Array;
}

export interface NativePolicyLossOptions {
  clipLow: number;
  clipHigh: number;
  dualClip: number;
  aggregation: Aggregation;
}

export interface NativePolicyLoss {
  loss: number;
  clipFraction: number;
  dualClipFraction: number;
  approxKl: number;
  gradient: Float32Array;
}

export interface NativeValueLossBatch {
  values: Float32Array;
  oldValues: Float32Array;
  returns: Float32Array;
  mask: Uint8Array;
  offsets: Uint32Array;
}

export interface NativeValueLossOptions {
  valueClip: number;
  aggregation: Aggregation;
}

export interface NativeValueLoss {
  loss: number;
  clipFraction: number;
  gradient: Float32Array;
}
