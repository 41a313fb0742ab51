import type { Experiment } from "../experiment.ts";
import { formatOnly, spa, vanilla } from "./arms.ts";

export const observationLoss: Experiment = {
  name: "observation-loss",
  claim: "Cross-entropy on what the world answered, during RL, teaches dynamics without a stage of its own.",
  source: "ECHO, arXiv 2605.24517",
  about:
    "The paper adds it to GRPO, averaged over tokens; here it stands beside PPO's loss in the same way. It reads the next turn's state after the agent's own actions. In world-model format the same truth may stand where the agent predicts it: true-states has cross-entropy there (ppo.loss.supervisedCoefficient) and no SFT.",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: () => [
    vanilla,
    {
      ...vanilla,
      name: "vanilla-echo",
      about: "vanilla-rl with cross-entropy on the states that the world answered with",
      ppo: ["ppo.loss.environmentCoefficient=0.3"],
    },
    formatOnly,
    {
      ...formatOnly,
      name: "format-echo",
      about: "format-only with the same",
      ppo: ["ppo.loss.environmentCoefficient=0.3"],
    },
    {
      ...formatOnly,
      name: "true-states",
      about: "format-only with cross-entropy on the true observation and prediction",
      ppo: ["ppo.loss.supervisedCoefficient=0.3"],
    },
    spa,
  ],
};
