import type { Experiment } from "../experiment.ts";
import { equalTokenSteps, formatOnly, ownStates, spa, vanilla } from "./arms.ts";

export const main: Experiment = {
  name: "main",
  claim:
    "An agent that has learnt a world model from self-play gains from PPO what PPO alone does not reach.",
  source: "SPA, arXiv 2510.15047, its main table",
  about:
    "All arms start from one frozen base and take the same PPO settings. own-states is the sharpest control: the same data, tokens and format, only the truth is missing. long-control has about as many tokens as SPA in all; the column of tokens says how many. online-world-model is VAGEN's idea (arXiv 2510.16907): RL is paid for right observations and predictions, here by exact match.",
  preset: "nano-frozen-lake",
  seeds: 5,
  arms: (config) => [
    vanilla,
    {
      name: "state-estimation",
      about: "PPO from the base, plain prompt with coordinates under the grid",
      trains: "control",
      settings: ["protocol.promptState=structured"],
    },
    formatOnly,
    {
      name: "online-world-model",
      about: "the same, paid .1 a turn for a right observation and for a right prediction",
      trains: "format-only",
      ppo: ["ppo.rewards.observation=0.1", "ppo.rewards.prediction=0.1"],
    },
    ownStates,
    {
      name: "long-control",
      about: "vanilla-rl for as many tokens as SPA",
      trains: "control",
      settings: ["protocol.promptState=grid", `ppo.steps=${equalTokenSteps(config)}`, "ppo.validateEvery=50"],
    },
    spa,
  ],
};
