import type { Config } from "../../config/schema.ts";
import type { Arm } from "../experiment.ts";

/** SPA as the preset has it. */
export const spa: Arm = {
  name: "spa",
  about: "self-play, SFT on the true states, PPO",
  trains: "spa",
};

/** PPO from the base that sees the raw grid. */
export const vanilla: Arm = {
  name: "vanilla-rl",
  about: "PPO from the base, plain prompt with the grid",
  trains: "control",
  settings: ["protocol.promptState=grid"],
};

export const formatOnly: Arm = {
  name: "format-only",
  about: "PPO from the base in world-model format, without SFT",
  trains: "format-only",
};

/** What SPA's data would be without the truth. */
export const ownStates: Arm = {
  name: "own-states",
  about: "SFT of equal size on the states that the model itself wrote, then PPO",
  trains: "spa",
  worldModel: ["sft.states=sampled"],
};

/** Settings of PPO without a critic. */
export function criticFree(estimator: string): string[] {
  return [`ppo.advantage.estimator=${estimator}`, "ppo.critic=none"];
}

/** Tokens of a reply in world-model format for one in the plain format, roughly: an LLM reasons in either. */
const replyRatio = { nano: 3.05, full: 1.25 };

/**
 * PPO steps in which an arm with the plain prompt goes through about as many tokens as SPA does in self-play, SFT and PPO.
 * The tables say what it came to.
 */
export function equalTokenSteps({ selfPlay, sft, ppo, protocol }: Config): number {
  const kept = ppo.filter.kind === "none" ? 1 : ppo.filter.value;
  const step = ppo.groups * ppo.groupSize * (1 + kept * ppo.epochs);
  const worldModel = selfPlay.trajectories * (1 + sft.epochs);
  return Math.round((ppo.steps + worldModel / step) * replyRatio[protocol.style]);
}
