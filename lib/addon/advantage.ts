import {
  badArgument,
  checkNumber,
  checkObject,
  toFloat32,
  toMask,
  toOffsets,
  toUint32,
} from "./arguments.ts";
import { loadAddon } from "./loader.ts";

/** Ragged per-token arrays: row i is entries `offsets[i]` up to but not including `offsets[i + 1]`. */
export interface GaeInput {
  /** `[tokens]`; what a row earns stands on masked tokens. */
  rewards: ArrayLike<number>;
  /** `[tokens]`: values of what stands before each token. */
  values: ArrayLike<number>;
  /** `[tokens]` of 0 and 1: the tokens that the policy chose. */
  mask: ArrayLike<number>;
  /** `[rows + 1]` */
  offsets: ArrayLike<number>;
  /** Discount, 0 to 1. */
  gamma: number;
  /** Bias against variance, 0 to 1. */
  lambda: number;
}

export interface BiLevelGaeInput extends GaeInput {
  /** Positions in the packed array of each turn's last token, ascending; each must be masked. */
  turnEnds: ArrayLike<number>;
  /** Discount from turn to turn, 0 to 1. */
  highLevelGamma: number;
}

export interface Advantages {
  /** `[tokens]`, not whitened; 0 outside the mask. */
  advantages: Float32Array;
  /** `[tokens]`: advantages + values; 0 outside the mask. */
  returns: Float32Array;
}

const gaeKeys = ["rewards", "values", "mask", "offsets", "gamma", "lambda"] as const;
const unit = { atLeast: 0, atMost: 1 };

/**
 * Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438) over masked tokens only: tokens of the
 * environment take no part in the recursion.
 *
 * @throws SpaError `BAD_ARGUMENT`.
 */
export function gae(input: GaeInput): Advantages {
  checkObject(input, "input", gaeKeys);
  return loadAddon().gae(checkRows(input), ...checkFactors(input));
}

/**
 * Bi-level GAE (RAGEN's `compute_bi_level_gae_advantage_return`) with explicit turn ends: first over turns, with
 * `highLevelGamma`, then within each turn, whose last token's reward is the turn's return of the first level. A turn
 * whose reward is 0 is a turn.
 *
 * @throws SpaError `BAD_ARGUMENT`.
 */
export function biLevelGae(input: BiLevelGaeInput): Advantages {
  checkObject(input, "input", [...gaeKeys, "turnEnds", "highLevelGamma"]);
  const rows = checkRows(input);
  const turnEnds = toUint32(input.turnEnds, "turnEnds", rows.mask.length - 1);
  for (const [i, position] of turnEnds.entries()) {
    if (i > 0 && position <= turnEnds[i - 1]) {
      throw badArgument(
        `turnEnds[${i}] is ${position}, not greater than turnEnds[${i - 1}] = ${turnEnds[i - 1]}`,
      );
    }
    if (rows.mask[position] === 0)
      throw badArgument(`turnEnds[${i}] is ${position}, a token outside the mask`);
  }
  const highLevelGamma = checkNumber(input.highLevelGamma, "highLevelGamma", unit);
  return loadAddon().biLevelGae({ ...rows, turnEnds }, ...checkFactors(input), highLevelGamma);
}

/**
 * (x - mean) / sqrt(var + 1e-8) over the mask, with Bessel's correction; 0 outside it. With fewer than two masked
 * entries only centred.
 *
 * @throws SpaError `BAD_ARGUMENT`.
 */
export function whiten(input: { values: ArrayLike<number>; mask: ArrayLike<number> }): Float32Array {
  checkObject(input, "input", ["values", "mask"]);
  const length = lengthOf(input.values, "values");
  return loadAddon().whiten(toFloat32(input.values, "values", length), toMask(input.mask, "mask", length));
}

function checkRows(input: GaeInput) {
  const length = lengthOf(input.rewards, "rewards");
  return {
    rewards: toFloat32(input.rewards, "rewards", length),
    values: toFloat32(input.values, "values", length),
    mask: toMask(input.mask, "mask", length),
    offsets: toOffsets(input.offsets, "offsets", length, "rewards"),
  };
}

function checkFactors({ gamma, lambda }: GaeInput): [number, number] {
  return [checkNumber(gamma, "gamma", unit), checkNumber(lambda, "lambda", unit)];
}

function lengthOf(value: ArrayLike<number>, name: string): number {
  if (typeof value?.length !== "number") throw badArgument(`${name} must be an array of numbers`);
  return value.length;
}
