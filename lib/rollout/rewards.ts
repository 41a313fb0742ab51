import type { TrajectoryBatch } from "./batch.ts";
import type { Trajectory, Turn } from "./trajectory.ts";

/** Where rewards stand; see {@link placeRewards}. */
type RewardPlacement = "trajectory" | "turn";

/** A turn of a packed batch of which the model sampled something, and what it earns. */
export interface RewardedTurn {
  turn: Turn;
  /** Its trajectory's place in the batch. */
  trajectory: number;
  /** Its sampled tokens in the packed array: the first, and one past the last. */
  begin: number;
  end: number;
  /** What stands on its last token, in full precision. */
  reward: number;
}

/** Rewards on tokens, and where turns end; arrays as in `gae` and `biLevelGae`. */
export interface TokenRewards {
  /** [tokens] */
  rewards: Float32Array;
  /** Position in the packed array of the last sampled token of each turn, in ascending order. */
  turnEnds: Uint32Array;
  /** The same turns in the same order. */
  turns: readonly RewardedTurn[];
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
  const turns = trajectories.flatMap((trajectory, index) => {
    const shift = batch.trajectoryOffsets[index];
    const sampled = trajectory.turns.filter((turn) => turn.end > turn.begin);
    let rest = totals[index];
    const rewarded = sampled.map((turn) => {
      const reward = options.placement === "turn" ? turn.reward * options.scale : 0;
      rest -= reward;
      return { turn, trajectory: index, begin: shift + turn.begin, end: shift + turn.end, reward };
    });
    if (rewarded.length > 0) rewarded[rewarded.length - 1].reward += rest;
    return rewarded;
  });
  for (const { end, reward } of turns) rewards[end - 1] = reward;
  return { rewards, turnEnds: Uint32Array.from(turns, ({ end }) => end - 1), turns };
}
