// What results.json says of a policy. Beside Pass@1 stands Pass@k, whose k depends on the samples: it is written with its k,
// and read through `rateAt`, so that rates of different k never stand under one name. `passAt` has every k of the samples.

import type { WorldModelQuality } from "./world-model.ts";

/** A 95 % interval: its lower and upper end. */
export type Interval = [number, number];

/** The k of the second pass rate; that of all samples where they are fewer. */
const FULL_K = 8;

/** Pass@1 and Pass@k. */
export interface PassRates<Rate = number> {
  passAt1: Rate;
  passAtK: Rate;
  /** The same as `passAtK`, where k is 8. */
  passAt8?: Rate;
  /** Pass@k by k, from 1 to the number of samples; absent where an earlier version wrote, and by distance. */
  passAt?: { [k: string]: Rate };
}

/** An entry of results.json. */
export interface Evaluation extends PassRates {
  /** The k of `passAtK`: 8, or the number of samples where they are fewer. */
  k: number;
  ci95: PassRates<Interval>;
  formatRate: number;
  observationAccuracy: number | null;
  predictionAccuracy: number | null;
  predictionAccuracyChanged: number | null;
  /** Absent in the plain format, and where an earlier version wrote. */
  worldModel?: WorldModelQuality;
  /** By the length of a shortest solution; `unknown` where there is none to tell. */
  byDistance: { [distance: string]: PassRates & { levels: number } };
  levels: number;
  samples: number;
  /** Samples that solved each level, in the order of the levels; absent where an earlier version wrote. */
  successes?: number[];
}

export type Evaluations = Readonly<Record<string, Evaluation>>;

/** The k of the second pass rate of a number of samples. */
export function kOf(samples: number): number {
  return Math.min(FULL_K, samples);
}

/** Pass rates under their names. */
export function nameRates<Rate>(passAt1: Rate, passAtK: Rate, k: number): PassRates<Rate> {
  return { passAt1, passAtK, ...(k === FULL_K && { passAt8: passAtK }) };
}

/** The ks that tables show where none are asked for, ascending: 1, and that of each evaluation's `passAtK`. */
export function ksOf(evaluations: Iterable<Evaluation>): number[] {
  const ks = [...evaluations].map(({ samples }) => kOf(samples));
  return [...new Set([1, ...ks])].sort((left, right) => left - right);
}

/** Every k for which an evaluation has Pass@k, ascending. */
export function allKsOf({ passAt, samples }: Pick<Evaluation, "passAt" | "samples">): number[] {
  const ks = passAt === undefined ? new Set([1, kOf(samples)]) : Object.keys(passAt).map(Number);
  return [...ks].sort((left, right) => left - right);
}

/**
 * An evaluation's Pass@k, or that of what it holds under the same names (intervals, a distance); undefined where it has
 * none for this k. Where there is only `passAt8`, it is of as many attempts as there are samples, up to eight.
 */
export function rateAt<Rate>(
  k: number,
  { samples }: Pick<Evaluation, "samples">,
  rates: Partial<PassRates<Rate>>,
): Rate | undefined {
  if (k === 1) return rates.passAt1;
  return k === kOf(samples) ? (rates.passAtK ?? rates.passAt8) : rates.passAt?.[k];
}
