import { badArgument } from "../addon/arguments.ts";
import type { PpoBatch } from "../engine/train-batch.ts";
import { lossMask, type MaskKind } from "../text/masks.ts";
import { packTrajectories } from "./batch.ts";
import { aboveMean } from "./reward-normalization.ts";
import type { Trajectory } from "./trajectory.ts";

export interface PackOptions {
  /** Which of the sampled tokens carry loss; `"response"` by default: all of them. */
  mask?: MaskKind;
  /** [trajectories] what the tokens of each are worth; by default its reward above the mean of the batch. */
  advantages?: ArrayLike<number>;
}

/**
 * Trajectories as a batch for `trainer.step(batch, { kind: "ppo", … })`: the tokens that were sampled, the log-probs that they were
 * sampled with, and one advantage for all tokens of a trajectory. With `clipLow: null` the gradient is that of REINFORCE
 * (Williams 1992), weighted by the ratio to the policy that sampled, which is 1 in the first step after it.
 *
 * @throws SpaError BAD_ARGUMENT
 */
export function packBatch(
  trajectories: readonly Trajectory[],
  options: PackOptions = {},
): Required<Pick<PpoBatch, "tokens" | "offsets" | "mask" | "oldLogProbs" | "advantages">> {
  const {
    mask = "response",
    advantages: given = aboveMean(trajectories.map(({ totalReward }) => totalReward)),
  } = options;
  if (given.length !== trajectories.length) {
    throw badArgument(`there are ${given.length} advantages for ${trajectories.length} trajectories`);
  }
  const { tokens, offsets, roles, sampled, logProbs, trajectoryOffsets } = packTrajectories(trajectories);
  const advantages = new Float32Array(tokens.length);
  for (let index = 0; index < given.length; index++)
    advantages.fill(given[index], trajectoryOffsets[index], trajectoryOffsets[index + 1]);
  return { tokens, offsets, mask: lossMask(mask, roles, sampled), oldLogProbs: logProbs, advantages };
}
