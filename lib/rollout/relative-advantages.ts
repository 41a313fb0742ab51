import { aboveMean, compareWithin, standardize } from "./reward-normalization.ts";
import type { RewardedTurn } from "./rewards.ts";

// Advantages without a critic: what a trajectory, or a turn, earned beside others of its group. Tokens of a turn share one.

/** Trajectories to compare. */
export interface ComparedTrajectories {
  /** [trajectories] normalised and scaled rewards. */
  totals: readonly number[];
  /** [trajectories]: those of a group play the same level. */
  groups: readonly number[];
  /** Those of all trajectories, in order. */
  turns: readonly RewardedTurn[];
}

/** How far above its group a trajectory is. */
export interface RelativeOptions {
  /** In standard deviations of the group; otherwise as a difference. */
  divideByDeviation: boolean;
}

export interface GigpoOptions extends RelativeOptions {
  /** Discount from turn to turn, 0 to 1. */
  gamma: number;
  /** Weight of the comparison of turns beside that of trajectories (the paper's omega). */
  stepWeight: number;
}

/**
 * Group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300, section 4.1.2): (r - mean) / (std + 1e-6) over the
 * group, with Bessel's correction; 0 where std <= 1e-6. Without division it is r - mean, as in Dr. GRPO (Liu et al. 2025,
 * arXiv 2503.20783). 0 in a group of one.
 *
 * @returns [turns]
 */
export function grpo(
  { totals, groups, turns }: ComparedTrajectories,
  { divideByDeviation }: RelativeOptions,
): number[] {
  return ofTrajectories(turns, compareWithin(totals, groups, divideByDeviation ? standardize : aboveMean));
}

/**
 * REINFORCE leave-one-out (Kool et al. 2019; Ahmadian et al. 2024, arXiv 2402.14740): r less the mean of the others in the
 * group. 0 in a group of one.
 *
 * @returns [turns]
 */
export function rloo({ totals, groups, turns }: ComparedTrajectories): number[] {
  return ofTrajectories(turns, compareWithin(totals, groups, aboveOthers));
}

/**
 * Group-in-group policy optimisation (Feng et al. 2025, arXiv 2505.10978): advantages of trajectories as in {@link grpo}
 * (equation 3), plus `stepWeight` times (equation 8) the same comparison of discounted returns from a turn on (equation 5)
 * among all turns of the group that began in the same state (equations 6 and 7). The second is 0 for a turn whose state
 * no other began in.
 *
 * @returns [turns]
 */
export function gigpo(compared: ComparedTrajectories, options: GigpoOptions): number[] {
  const { turns, groups } = compared;
  const anchors = turns.map(({ turn, trajectory }) => `${groups[trajectory]} ${turn.stateBefore.structured}`);
  const compare = options.divideByDeviation ? standardize : aboveMean;
  const steps = compareWithin(returnsOf(turns, options.gamma), anchors, compare);
  return grpo(compared, options).map((episode, index) => episode + options.stepWeight * steps[index]);
}

/** Gives each sampled token its turn's advantage; [tokens], 0 on other tokens. */
export function onTokens(turns: readonly RewardedTurn[], advantages: readonly number[], tokens: number) {
  const spread = new Float32Array(tokens);
  for (const [index, { begin, end }] of turns.entries()) spread.fill(advantages[index], begin, end);
  return spread;
}

function ofTrajectories(turns: readonly RewardedTurn[], advantages: readonly number[]): number[] {
  return turns.map(({ trajectory }) => advantages[trajectory]);
}

/** What each value is above the mean of the others. */
function aboveOthers(values: readonly number[]): number[] {
  const factor = values.length / Math.max(1, values.length - 1);
  return aboveMean(values).map((value) => value * factor);
}

/** What a trajectory earns from each turn on, later turns discounted. */
function returnsOf(turns: readonly RewardedTurn[], gamma: number): number[] {
  const returns = turns.map(({ reward }) => reward);
  for (let index = turns.length - 2; index >= 0; index--) {
    if (turns[index].trajectory === turns[index + 1].trajectory) returns[index] += gamma * returns[index + 1];
  }
  return returns;
}
