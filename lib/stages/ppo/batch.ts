import type { PpoConfig } from "../../config/schema.ts";
import type { Model } from "../../engine/model.ts";
import { packTrajectories, selectTrajectories, type TrajectoryBatch } from "../../rollout/batch.ts";
import { filterGroups, groupsOf } from "../../rollout/groups.ts";
import { normalizeRewards } from "../../rollout/reward-normalization.ts";
import { placeRewards } from "../../rollout/rewards.ts";
import type { SeededGenerator } from "../../rollout/seeded-generator.ts";
import type { Trajectory } from "../../rollout/trajectory.ts";
import { lossMask } from "../../text/masks.ts";
import { estimateAdvantages } from "./advantages.ts";

/** Trajectories of which rollout and training log-probs are compared in each step. */
const COMPARED_TRAJECTORIES = 8;

/** What a PPO step trains on. All arrays are [tokens] of `batch`. */
export interface PpoData {
  trajectories: Trajectory[];
  batch: TrajectoryBatch;
  /** Tokens with policy loss; a subset of `batch.sampled`, the tokens over which advantages are estimated. */
  lossMask: Uint8Array;
  oldValues: Float32Array;
  advantages: Float32Array;
  returns: Float32Array;
  referenceLogProbs: Float32Array | undefined;
  /** Tokens of the environment's answers; absent without a loss on them. */
  environmentMask?: Uint8Array;
}

/** Models beside the actor. */
export interface PpoModels {
  actor: Model;
  /** The model whose value head gives values; null without a critic. */
  critic: Model | null;
  /** The policy at the start of PPO, for the KL penalty. */
  reference: Model | null;
}

/** Trajectories with their normalised and scaled rewards. */
interface ScoredTrajectories {
  trajectories: Trajectory[];
  rewards: number[];
}

/**
 * Normalises rewards over everything collected, then keeps the groups that say most.
 *
 * @returns also the number of groups kept, and the mean over all groups of their rewards' deviation: undefined where each
 * trajectory is a group of its own
 */
export function chooseTrajectories(
  collected: readonly Trajectory[],
  config: PpoConfig,
  tag: string,
): ScoredTrajectories & { groups: number; deviation: number | undefined } {
  const { normalization, grouping, scale } = config.rewards;
  const sources = collected.map(({ group }) => ({ group, tag }));
  const totals = collected.map(({ totalReward }) => totalReward);
  const rewards = normalizeRewards(totals, sources, normalization, grouping).map((reward) => reward * scale);
  const groups = groupsOf(collected);
  const compared = groups.filter((group) => group.members.length > 1);
  const kept = filterGroups(groups, config.filter);
  const members = kept.flatMap((group) => group.members);
  return {
    trajectories: members.map((index) => collected[index]),
    rewards: members.map((index) => rewards[index]),
    groups: kept.length,
    deviation:
      compared.length === 0
        ? undefined
        : compared.reduce((sum, group) => sum + group.deviation, 0) / compared.length,
  };
}

/** Values, advantages and returns of what was chosen. One forward pass of the critic (and one of the reference). */
export async function preparePpoData(
  { trajectories, rewards: totals }: ScoredTrajectories,
  models: PpoModels,
  config: PpoConfig,
): Promise<PpoData> {
  const batch = packTrajectories(trajectories);
  const { tokens, offsets } = batch;
  const placement = { placement: config.rewards.placement, scale: config.rewards.scale };
  const rewards = placeRewards(trajectories, batch, totals, placement);
  const values = models.critic
    ? await models.critic.values({ tokens, offsets })
    : new Float32Array(tokens.length);
  const groups = trajectories.map(({ group }) => group);
  const mask = lossMask(config.mask, batch.roles, batch.sampled);
  const evidence = { ...rewards, totals, groups, batch, values };
  const { temperature } = config;
  return {
    trajectories,
    batch,
    lossMask: mask,
    oldValues: values,
    ...estimateAdvantages(evidence, mask, config.advantage),
    referenceLogProbs: await models.reference?.logProbs({ tokens, offsets, temperature }),
  };
}

/** The trajectories of each minibatch of one epoch: all of them in random order, in parts of about equal size. */
export function minibatches(count: number, size: number, generator: SeededGenerator): Uint32Array[] {
  const order = generator.permutation(count);
  const parts = Math.max(1, Math.round(count / size));
  return Array.from({ length: parts }, (_, part) =>
    order.subarray(Math.floor((part * count) / parts), Math.floor(((part + 1) * count) / parts)),
  );
}

/** A `PpoBatch` of typed arrays. */
export type Minibatch = ReturnType<typeof trainBatch>;

/** What the trainer takes of some of the trajectories. */
export function trainBatch(data: PpoData, indices: Uint32Array, hasCritic: boolean) {
  const { tokens, offsets, gather } = selectTrajectories(data.batch, indices);
  return {
    tokens,
    offsets,
    mask: gather(data.lossMask),
    oldLogProbs: gather(data.batch.logProbs),
    advantages: gather(data.advantages),
    ...(data.referenceLogProbs && { referenceLogProbs: gather(data.referenceLogProbs) }),
    ...(data.environmentMask && { environmentMask: gather(data.environmentMask) }),
    ...(hasCritic && {
      values: {
        mask: gather(data.batch.sampled),
        oldValues: gather(data.oldValues),
        returns: gather(data.returns),
      },
    }),
  };
}

/** Differences between the log-probs taken while sampling and those of the training forward pass. */
export async function logProbDifference(
  actor: Model,
  { batch, trajectories }: PpoData,
  temperature: number,
): Promise<{ mean: number; max: number }> {
  const compared = Math.min(COMPARED_TRAJECTORIES, trajectories.length);
  const tokens = batch.tokens.subarray(0, batch.trajectoryOffsets[compared]);
  const offsets = batch.offsets.subarray(0, batch.segmentOffsets[compared] + 1);
  const trained = await actor.logProbs({ tokens, offsets, temperature });
  const { sampled, logProbs: rollout } = batch;
  let sum = 0;
  let max = 0;
  let count = 0;
  for (let index = 0; index < tokens.length; index++) {
    if (sampled[index] === 0) continue;
    const difference = Math.abs(rollout[index] - trained[index]);
    sum += difference;
    max = Math.max(max, difference);
    count++;
  }
  return { mean: sum / Math.max(count, 1), max };
}
