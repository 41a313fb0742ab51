import type { Experiment } from "../experiment.ts";
import { criticFree, formatOnly, ownStates, spa } from "./arms.ts";

export const rlWorldModel: Experiment = {
  name: "rl-world-model",
  claim: "A world model can be learnt by RL on whether predictions come true, in place of SFT.",
  source: "RWML, arXiv 2602.05842",
  about:
    "The paper is paid for likeness of embeddings above a threshold; grids can be compared exactly. rl-states is GRPO that is paid for right observations and predictions and nothing else; rl-states-then-ppo goes on from it with the task's reward. A base that never predicts rightly has nothing to compare: that is the test.",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: () => [
    formatOnly,
    {
      name: "rl-states",
      about: "GRPO on exact matches of both states, from the base",
      trains: "format-only",
      ppo: [
        ...criticFree("grpo"),
        "ppo.rewards.task=0",
        "ppo.rewards.observation=0.5",
        "ppo.rewards.prediction=0.5",
      ],
    },
    {
      name: "rl-states-then-ppo",
      about: "PPO on the task from there",
      trains: "format-only",
      from: { arm: "rl-states", stage: "format-only/ppo" },
    },
    ownStates,
    spa,
  ],
};
