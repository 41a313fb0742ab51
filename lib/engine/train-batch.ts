import type { NativeLoss, NativePpoLossOptions, NativeTrainBatch } from "../addon/addon.ts";
import {
  badArgument,
  checkBatch,
  checkNumber,
  checkObject,
  checkOneOf,
  checkRowLengths,
  type RaggedBatch,
  toFloat32,
  toMask,
} from "../addon/arguments.ts";
import type { Aggregation, KlEstimator } from "../addon/arrays.ts";
import type { ModelConfig } from "../formats/model-config.ts";

/** A batch for the loss `"sft"`. */
export interface SftBatch extends RaggedBatch {
  /** Tokens with loss. The first token of a row never counts: nothing predicts it. */
  mask: ArrayLike<number>;
}

/** What the critic is trained on. */
export interface ValueTargets {
  /** Tokens with value loss (the action mask). */
  mask: ArrayLike<number>;
  oldValues: ArrayLike<number>;
  returns: ArrayLike<number>;
}

/** A batch for the losses `"ppo"` and `"value"`; every array is aligned with `tokens`. */
export interface PpoBatch extends RaggedBatch {
  /** Tokens with policy loss (the loss mask). The first token of a row never counts. */
  mask?: ArrayLike<number>;
  /** Log-probs under the policy that sampled. */
  oldLogProbs?: ArrayLike<number>;
  advantages?: ArrayLike<number>;
  /** Log-probs under the reference policy; needed when `klCoefficient` is not 0. */
  referenceLogProbs?: ArrayLike<number>;
  /** With a critic. */
  values?: ValueTargets;
  /** Tokens with auxiliary cross-entropy; needed when `supervisedCoefficient` is not 0. */
  supervisedMask?: ArrayLike<number>;
}

export type TrainBatch = SftBatch | PpoBatch;

/** Mean negative log-prob of the masked tokens. */
export interface SftLoss {
  kind: "sft";
  /** `"token-mean"` by default. */
  aggregation?: Aggregation;
}

/** PPO's clipped surrogate with dual clip, entropy, KL and value terms; semantics of verl's core_algos. */
export interface PpoLoss {
  kind: "ppo";
  /** 0.2 and 0.28 by default: the ratio is clipped to [1 - clipLow, 1 + clipHigh]. */
  clipLow?: number;
  clipHigh?: number;
  /** Bound of the ratio for negative advantages (Ye et al. 2020); null: none. 3 by default. */
  dualClip?: number | null;
  /** 0 by default. */
  entropyCoefficient?: number;
  klCoefficient?: number;
  /** `"k3"` by default. */
  klEstimator?: KlEstimator;
  /** The one that was sampled with; 1 by default. */
  temperature?: number;
  /** `"token-mean"` by default. */
  aggregation?: Aggregation;
  /** How far a value may move from the old one; null: any distance. 0.5 by default. */
  valueClip?: number | null;
  /** 0.5 by default. */
  valueCoefficient?: number;
  /** Weight of the auxiliary cross-entropy; 0 by default. */
  supervisedCoefficient?: number;
}

/** The critic's part alone. */
export interface ValueLoss {
  kind: "value";
  valueClip?: number | null;
  valueCoefficient?: number;
}

export type Loss = SftLoss | PpoLoss | ValueLoss;

const aggregations = ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum"] as const;
const estimators = ["k1", "abs", "k2", "k3"] as const;
const ppoKeys = [
  "kind",
  "clipLow",
  "clipHigh",
  "dualClip",
  "entropyCoefficient",
  "klCoefficient",
  "klEstimator",
  "temperature",
  "aggregation",
  "valueClip",
  "valueCoefficient",
  "supervisedCoefficient",
] as const;

/** Fills in a loss's defaults and checks it. @throws SpaError `BAD_ARGUMENT`. @internal */
export function checkLoss(loss: Loss, critic: boolean): NativeLoss {
  checkObject(loss, "loss");
  const kind = checkOneOf(loss.kind, "loss.kind", ["sft", "ppo", "value"]);
  if (loss.kind === "sft") {
    checkObject(loss, "loss", ["kind", "aggregation"]);
    return {
      kind: "sft",
      aggregation: checkOneOf(loss.aggregation ?? "token-mean", "loss.aggregation", aggregations),
    };
  }
  checkObject(loss, "loss", loss.kind === "ppo" ? ppoKeys : ["kind", "valueClip", "valueCoefficient"]);
  if (kind === "value" && !critic) {
    throw badArgument(
      'loss.kind is "value", but the trainer has no critic',
      "create the trainer with a critic",
    );
  }
  return { kind: loss.kind, ...checkPpoLoss(loss as PpoLoss) };
}

function checkPpoLoss(loss: PpoLoss): NativePpoLossOptions {
  const atLeast0 = { atLeast: 0 };
  const number = (
    name: keyof PpoLoss,
    standard: number,
    interval: { atLeast?: number; above?: number; below?: number },
  ) => checkNumber(loss[name] ?? standard, `loss.${name}`, interval);
  return {
    clipLow: number("clipLow", 0.2, { atLeast: 0, below: 1 }),
    clipHigh: number("clipHigh", 0.28, atLeast0),
    dualClip: loss.dualClip === null ? 0 : number("dualClip", 3, { above: 1 }),
    entropyCoefficient: number("entropyCoefficient", 0, {}),
    klCoefficient: number("klCoefficient", 0, atLeast0),
    klEstimator: checkOneOf(loss.klEstimator ?? "k3", "loss.klEstimator", estimators),
    temperature: number("temperature", 1, { above: 0 }),
    aggregation: checkOneOf(loss.aggregation ?? "token-mean", "loss.aggregation", aggregations),
    valueClip: loss.valueClip === null ? 0 : number("valueClip", 0.5, { above: 0 }),
    valueCoefficient: number("valueCoefficient", 0.5, atLeast0),
    supervisedCoefficient: number("supervisedCoefficient", 0, atLeast0),
  };
}

const sftKeys = ["tokens", "offsets", "mask"] as const;
const ppoBatchKeys = [
  ...sftKeys,
  "oldLogProbs",
  "advantages",
  "referenceLogProbs",
  "values",
  "supervisedMask",
] as const;

/** Checks a batch for a loss and copies it. @throws SpaError `BAD_ARGUMENT`, `CAPACITY`. @internal */
export function checkTrainBatch(
  batch: TrainBatch,
  loss: NativeLoss,
  config: ModelConfig,
  critic: boolean,
): NativeTrainBatch {
  checkObject(batch, "batch", loss.kind === "sft" ? sftKeys : ppoBatchKeys);
  const rows = checkBatch(batch, "batch", config.vocabularySize);
  checkRowLengths(rows, config.maxPositions);
  const length = rows.tokens.length;
  const mask = (value: unknown, name: string) => checkMask(value, name, rows.offsets, length);
  if (loss.kind === "sft") return { ...rows, mask: mask(batch.mask, "batch.mask") };

  const ppo = batch as PpoBatch;
  const values = critic ? checkValues(ppo.values, mask, length) : {};
  if (!critic && ppo.values !== undefined)
    throw badArgument("batch.values is given, but the trainer has no critic");
  if (loss.kind === "value") return { ...rows, mask: new Uint8Array(length), ...values };

  const reference = optional(ppo.referenceLogProbs, loss.klCoefficient, "referenceLogProbs", "klCoefficient");
  const supervised = optional(
    ppo.supervisedMask,
    loss.supervisedCoefficient,
    "supervisedMask",
    "supervisedCoefficient",
  );
  return {
    ...rows,
    mask: mask(ppo.mask, "batch.mask"),
    oldLogProbs: toFloat32(ppo.oldLogProbs, "batch.oldLogProbs", length),
    advantages: toFloat32(ppo.advantages, "batch.advantages", length),
    ...(reference === undefined
      ? {}
      : { referenceLogProbs: toFloat32(reference, "batch.referenceLogProbs", length) }),
    ...(supervised === undefined ? {} : { supervisedMask: supervisedMask(supervised, rows.offsets, length) }),
    ...values,
  };
}

/** An array that a coefficient needs. */
function optional<T>(
  value: T | undefined,
  coefficient: number,
  name: string,
  coefficientName: string,
): T | undefined {
  if (coefficient !== 0 && value === undefined) {
    throw badArgument(`loss.${coefficientName} is ${coefficient}, but batch.${name} is missing`);
  }
  return value;
}

function checkValues(
  values: ValueTargets | undefined,
  mask: (value: unknown, name: string) => Uint8Array,
  length: number,
) {
  if (values === undefined) {
    throw badArgument(
      "batch.values is missing: the trainer has a critic",
      "give { mask, oldValues, returns }",
    );
  }
  checkObject(values, "batch.values", ["mask", "oldValues", "returns"]);
  return {
    valueMask: mask(values.mask, "batch.values.mask"),
    oldValues: toFloat32(values.oldValues, "batch.values.oldValues", length),
    returns: toFloat32(values.returns, "batch.values.returns", length),
  };
}

/** A mask without the rows' first tokens; at least one token must be left. */
function checkMask(value: unknown, name: string, offsets: Uint32Array, length: number): Uint8Array {
  const mask = withoutFirst(toMask(value, name, length), offsets);
  if (!mask.includes(1)) {
    throw badArgument(
      `${name} selects no token that has one before it`,
      "a batch needs at least one token with loss",
    );
  }
  return mask;
}

/** The auxiliary mask may be empty: not every batch has such tokens. */
function supervisedMask(value: unknown, offsets: Uint32Array, length: number): Uint8Array {
  return withoutFirst(toMask(value, "batch.supervisedMask", length), offsets);
}

function withoutFirst(mask: Uint8Array, offsets: Uint32Array): Uint8Array {
  for (let row = 0; row + 1 < offsets.length; row++) {
    if (offsets[row] < offsets[row + 1]) mask[offsets[row]] = 0;
  }
  return mask;
}
