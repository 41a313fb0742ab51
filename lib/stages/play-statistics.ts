import { aboveMean } from "../rollout/reward-normalization.ts";
import type { Trajectory, Turn } from "../rollout/trajectory.ts";
import { sampledTokens } from "../rollout/trajectory.ts";
import type { TurnProtocol } from "../rollout/turn-protocol.ts";
import { observesRightly, predictsRightly } from "./world-model.ts";

/** How a set of trajectories went. Rates are shares of turns; null where there is nothing to count. */
export interface PlayStatistics {
  trajectories: number;
  rewardMean: number;
  rewardStd: number;
  successRate: number;
  /** Turns in a trajectory. */
  turnsMean: number;
  /** Sampled tokens in a turn. */
  responseLength: number;
  formatRate: number;
  /** Replies that were cut by the limit of new tokens, as those that repeat themselves are. */
  cutRate: number;
  /** Turns whose observation is the true state before them. Only in world-model format. */
  observationAccuracy: number | null;
  /** Turns whose prediction is the true state after them; a turn without a prediction is a wrong one. */
  predictionAccuracy: number | null;
  /** The same over the turns that changed the state. */
  predictionAccuracyChanged: number | null;
}

export function playStatistics(trajectories: readonly Trajectory[], protocol: TurnProtocol): PlayStatistics {
  const rewards = trajectories.map(({ totalReward }) => totalReward);
  const rewardMean = mean(rewards) ?? 0;
  const turns = trajectories.flatMap((trajectory) => trajectory.turns);
  const worldModel = protocol.format === "world-model";
  const observed = (turn: Turn) => observesRightly(turn, protocol);
  const predicted = (turn: Turn) => predictsRightly(turn, protocol);
  const isCut = ({ tokens, turns: own }: Trajectory) =>
    own.map(({ end }) => !protocol.chat.stopTokens.includes(tokens[end - 1]));
  const changed = turns.filter(({ effective }) => effective);
  return {
    trajectories: trajectories.length,
    rewardMean,
    rewardStd: Math.sqrt(mean(aboveMean(rewards).map((value) => value ** 2)) ?? 0),
    successRate: share(trajectories, ({ success }) => success) ?? 0,
    turnsMean: turns.length / Math.max(trajectories.length, 1),
    responseLength: sampledTokens(trajectories) / Math.max(turns.length, 1),
    formatRate: share(turns, ({ valid }) => valid) ?? 0,
    cutRate: share(trajectories.flatMap(isCut), (cut) => cut) ?? 0,
    observationAccuracy: worldModel ? share(turns, observed) : null,
    predictionAccuracy: worldModel ? share(turns, predicted) : null,
    predictionAccuracyChanged: worldModel ? share(changed, predicted) : null,
  };
}

/** The statistics under the names that they have in metrics.jsonl. */
export function playMetrics(statistics: PlayStatistics): Record<string, number | undefined> {
  return {
    reward_mean: statistics.rewardMean,
    reward_std: statistics.rewardStd,
    success_rate: statistics.successRate,
    turns_mean: statistics.turnsMean,
    response_length: statistics.responseLength,
    format_rate: statistics.formatRate,
    cut_rate: statistics.cutRate,
    observation_accuracy: statistics.observationAccuracy ?? undefined,
    prediction_accuracy: statistics.predictionAccuracy ?? undefined,
    prediction_accuracy_changed: statistics.predictionAccuracyChanged ?? undefined,
  };
}

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function share<T>(items: readonly T[], counts: (item: T) => boolean): number | null {
  return items.length === 0 ? null : items.filter(counts).length / items.length;
}
