import type { NativeTrainBatch } from "../addon/addon.ts";
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
import type { NativeLoss } from "../addon/arrays.ts";
import {
  type FieldsOf,
  fieldNeeding,
  type LossField,
  type LossKind,
  type LossTerms,
  lossFieldEntries,
  lossKinds,
  type TermArray,
} from "../addon/loss-fields.ts";
import type { ModelConfig } from "../formats/model-config.ts";

/** A batch for the loss `"sft"`. */
export interface SftBatch extends RaggedBatch {
  /** Tokens with loss. The first token of a row never counts: nothing predicts it. */
  mask: ArrayLike<number>;
  /**
   * [tokens] how much each token of `mask` counts, 0 or above; absent: 1 each. Means over tokens are then weighted ones: with
   * w the weights, m the mask and l the tokens' losses, `token-mean` is sum(w m l) / sum(w m). A weight of 0 is a mask of 0.
   */
  weights?: ArrayLike<number>;
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
  /** [tokens] how much each token of `supervisedMask` counts, as {@link SftBatch.weights} does; absent: 1 each. */
  supervisedWeights?: ArrayLike<number>;
  /** Tokens with a cross-entropy of their own, such as the environment's; needed when `environmentCoefficient` is not 0. */
  environmentMask?: ArrayLike<number>;
}

export type TrainBatch = SftBatch | PpoBatch;

/** Mean negative log-prob of the masked tokens, weighted where the batch has weights. */
export interface SftLoss extends Partial<Pick<LossTerms, FieldsOf<"sft">>> {
  kind: "sft";
}

/**
 * PPO's clipped surrogate with dual clip, entropy, KL and value terms; semantics of verl's core_algos. docs/configuration.md
 * says of each field what it is (`ppo.loss`). Without bonus and penalties by default: their coefficients are 0.
 */
export interface PpoLoss extends Partial<LossTerms> {
  kind: "ppo";
}

/** The critic's part alone. */
export interface ValueLoss extends Partial<Pick<LossTerms, FieldsOf<"value">>> {
  kind: "value";
}

export type Loss = SftLoss | PpoLoss | ValueLoss;

/** Fills in a loss's defaults and checks it. @throws SpaError `BAD_ARGUMENT`. @internal */
export function checkLoss(loss: Loss, critic: boolean): NativeLoss {
  checkObject(loss, "loss");
  const kind = checkOneOf(loss.kind, "loss.kind", lossKinds);
  checkObject(loss, "loss", ["kind", ...fieldsOf(kind)]);
  if (kind === "value" && !critic) {
    throw badArgument(
      'loss.kind is "value", but the trainer has no critic',
      "create the trainer with a critic",
    );
  }
  const given: Partial<LossTerms> = loss;
  const entries = lossFieldEntries.map(([name, field]) => [name, checkField(name, field, given[name])]);
  const terms = Object.fromEntries(entries) as LossTerms;
  return { kind, ...terms, ...(terms.clipLow === null ? unclipped : { clipLow: terms.clipLow }) };
}

/** Bounds that no ratio reaches: it is above 0. */
const unclipped = { clipLow: 1, clipHigh: Number.POSITIVE_INFINITY, dualClip: null };

function fieldsOf(kind: LossKind): string[] {
  const own = lossFieldEntries.filter(([, { also }]) => kind === "ppo" || also === kind);
  return own.map(([name]) => name);
}

function checkField(
  name: string,
  { range, choices, nullable, default: standard }: LossField,
  value: unknown,
) {
  if (nullable && value === null) return null;
  return choices
    ? checkOneOf(value ?? standard, `loss.${name}`, choices)
    : checkNumber(value ?? standard, `loss.${name}`, range);
}

const batchKeys = ["tokens", "offsets", "mask"] as const;
const sftBatchKeys = [...batchKeys, "weights"] as const;
const ppoBatchKeys = [
  ...batchKeys,
  "oldLogProbs",
  "advantages",
  "referenceLogProbs",
  "values",
  "supervisedMask",
  "supervisedWeights",
  "environmentMask",
] as const;

/** Checks a batch for a loss. @throws SpaError `BAD_ARGUMENT`, `CAPACITY`. @internal */
export function checkTrainBatch(
  batch: TrainBatch,
  loss: NativeLoss,
  { vocabularySize, maxPositions }: Pick<ModelConfig, "vocabularySize" | "maxPositions">,
  critic: boolean,
): NativeTrainBatch {
  checkObject(batch, "batch", loss.kind === "sft" ? sftBatchKeys : ppoBatchKeys);
  const rows = checkBatch(batch, "batch", vocabularySize);
  checkRowLengths(rows, maxPositions);
  const length = rows.tokens.length;
  const mask = (value: unknown, name: string) => checkMask(value, name, rows.offsets, length);
  if (loss.kind === "sft") {
    const { weights } = batch as SftBatch;
    const weighted = withWeights(mask(batch.mask, "batch.mask"), weights, "batch.weights");
    if (!weighted.mask.includes(1)) throw badArgument("batch.weights is 0 for every token of batch.mask");
    return { ...rows, ...weighted };
  }

  const ppo = batch as PpoBatch;
  const values = critic ? checkValues(ppo.values, mask, length) : {};
  if (!critic && ppo.values !== undefined)
    throw badArgument("batch.values is given, but the trainer has no critic");
  if (loss.kind === "value") return { ...rows, mask: new Uint8Array(length), ...values };

  const reference = termArray(ppo, loss, "referenceLogProbs");
  const supervised = termArray(ppo, loss, "supervisedMask");
  if (supervised === undefined && ppo.supervisedWeights !== undefined)
    throw badArgument("batch.supervisedWeights is given, but batch.supervisedMask is not");
  const environment = termArray(ppo, loss, "environmentMask");
  return {
    ...rows,
    mask: mask(ppo.mask, "batch.mask"),
    oldLogProbs: toFloat32(ppo.oldLogProbs, "batch.oldLogProbs", length),
    advantages: toFloat32(ppo.advantages, "batch.advantages", length),
    ...(reference === undefined
      ? {}
      : { referenceLogProbs: toFloat32(reference, "batch.referenceLogProbs", length) }),
    ...(supervised === undefined
      ? {}
      : supervisedTokens(supervised, ppo.supervisedWeights, rows.offsets, length)),
    ...(environment === undefined
      ? {}
      : { environmentMask: auxiliaryMask(environment, "batch.environmentMask", rows.offsets, length) }),
    ...values,
  };
}

/** An array that a term of the loss may need. */
function termArray(batch: PpoBatch, loss: NativeLoss, array: TermArray): ArrayLike<number> | undefined {
  const field = fieldNeeding(loss, array);
  if (field !== undefined && batch[array] === undefined)
    throw badArgument(`loss.${field} is ${loss[field]}, but batch.${array} is missing`);
  return batch[array];
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

/** An auxiliary loss's mask may be empty: not every batch has such tokens. */
function auxiliaryMask(value: unknown, name: string, offsets: Uint32Array, length: number): Uint8Array {
  return withoutFirst(toMask(value, name, length), offsets);
}

function supervisedTokens(value: unknown, weights: unknown, offsets: Uint32Array, length: number) {
  const selected = auxiliaryMask(value, "batch.supervisedMask", offsets, length);
  const { mask, tokenWeights } = withWeights(selected, weights, "batch.supervisedWeights");
  return { supervisedMask: mask, ...(tokenWeights && { tokenWeights }) };
}

/** A mask without the tokens whose weight is 0, and the weights; just the mask where there are none. */
function withWeights(
  mask: Uint8Array,
  value: unknown,
  name: string,
): { mask: Uint8Array; tokenWeights?: Float32Array } {
  if (value === undefined) return { mask };
  const tokenWeights = toFloat32(value, name, mask.length);
  const negative = tokenWeights.findIndex((weight) => weight < 0);
  if (negative >= 0)
    throw badArgument(`${name}[${negative}] is ${tokenWeights[negative]}; it must be 0 or above`);
  return { mask: mask.map((entry, token) => (tokenWeights[token] === 0 ? 0 : entry)), tokenWeights };
}

/** The mask with 0 for the rows' first tokens; itself where it has no 1 there. */
function withoutFirst(mask: Uint8Array, offsets: Uint32Array): Uint8Array {
  // Where a row is empty its offset is the next row's first token, or the end.
  const firsts = offsets.filter((begin) => mask[begin] === 1);
  if (firsts.length === 0) return mask;
  const rest = mask.slice();
  for (const begin of firsts) rest[begin] = 0;
  return rest;
}
