import type { TrajectoryBatch } from "./batch.ts";
import type { Trajectory } from "./trajectory.ts";

/** Where rewards stand; see {@link placeRewards}. */
type RewardPlacement = "trajectory" | "turn";

/** Rewards on tokens, and where turns end; arrays as in `gae` and `biLevelGae`. */
interface TokenRewards {
  /** [tokens] */
  rewards: Float32Array;
  /** Position in the packed array of the last sampled token of each turn, in ascending order. */
  turnEnds: Uint32Array;
}

/**
 * Puts rewards on tokens of a packed batch.
 *
 * A reward stands on the last token of its turn (`turn`) or of the trajectory (`trajectory`) that the model sampled,
 * so it never falls on template or environment text.
 *
 * @param totals the reward of each trajectory (normalised and scaled). With `turn` placement each turn gets its own
 *   reward times `scale`, and what normalisation added to or took from the total goes to the last turn, so that the
 *   turns' rewards always add up to the total.
 */
export function placeRewards(
  trajectories: readonly Trajectory[],
  batch: TrajectoryBatch,
  totals: readonly number[],
  options: { placement: RewardPlacement; scale: number },
): TokenRewards {
  const rewards = new Float32Array(batch.tokens.length);
  const turnEnds: number[] = [];
  for (const [index, trajectory] of trajectories.entries()) {
    const begin = batch.trajectoryOffsets[index];
    let rest = totals[index];
    let last = -1;
    for (const turn of trajectory.turns) {
      if (turn.end === turn.begin) continue;
      last = begin + turn.end - 1;
      turnEnds.push(last);
      if (options.placement === "turn") {
        rewards[last] += turn.reward * options.scale;
        rest -= turn.reward * options.scale;
      }
    }
    if (last >= 0) rewards[last] += rest;
  }
  return { rewards, turnEnds: Uint32Array.from(turnEnds) };
}
