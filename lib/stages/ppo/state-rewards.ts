import type { PpoConfig } from "../../config/schema.ts";
import type { Trajectory, Turn } from "../../rollout/trajectory.ts";
import type { TurnProtocol } from "../../rollout/turn-protocol.ts";
import { observesRightly, predictsRightly } from "../world-model.ts";

type RewardWeights = Pick<PpoConfig["rewards"], "task" | "observation" | "prediction">;

/** Trajectories as they are trained on. */
interface RewardedTrajectories {
  /** Those that were played, with rewards of turns and totals that training goes by; what is reported of play stays the environment's. */
  trajectories: readonly Trajectory[];
  /** Mean over trajectories of what right states have added to the total; undefined where they add nothing by the settings. */
  stateReward: number | undefined;
}

/**
 * Rewards that training goes by: the environment's times `task`, less the format penalty, and in world-model format `observation`
 * and `prediction` for each well-formed turn whose written state equals the true one (VAGEN, arXiv 2510.16907; RWML, arXiv
 * 2602.05842). A malformed turn earns nothing by its states: it carries out no action, so that they would be there for copying.
 */
export function rewardStates(
  played: readonly Trajectory[],
  protocol: TurnProtocol,
  { task, observation, prediction }: RewardWeights,
): RewardedTrajectories {
  const paysStates = protocol.format === "world-model" && (observation !== 0 || prediction !== 0);
  // What has been played is trained on to the last bit where nothing is asked for.
  if (task === 1 && !paysStates) return { trajectories: played, stateReward: undefined };
  const ofStates = (turn: Turn) =>
    paysStates && turn.valid
      ? (observesRightly(turn, protocol) ? observation : 0) +
        (predictsRightly(turn, protocol) ? prediction : 0)
      : 0;
  let added = 0;
  const trajectories = played.map((trajectory) => {
    const turns = trajectory.turns.map((turn) => {
      const penalty = turn.valid ? 0 : -protocol.settings.formatPenalty;
      const states = ofStates(turn);
      added += states;
      return { ...turn, reward: task * (turn.reward - penalty) + penalty + states };
    });
    return { ...trajectory, turns, totalReward: turns.reduce((sum, { reward }) => sum + reward, 0) };
  });
  return { trajectories, stateReward: paysStates ? added / Math.max(1, played.length) : undefined };
}
