import type { Experiment } from "../experiment.ts";
import { spa } from "./arms.ts";

export const keepWorldModel: Experiment = {
  name: "keep-world-model",
  claim: "PPO erodes the world model; a cross-entropy on the true states of its own rollouts keeps it.",
  source: "this package; not in the paper",
  about: "Columns observation and prediction say what is left of the world model after PPO.",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: () => [
    ...[0.1, 0.3, 1].map((coefficient) => ({
      ...spa,
      name: `keep-${coefficient}`,
      about: `cross-entropy on true states with weight ${coefficient}`,
      ppo: [`ppo.loss.supervisedCoefficient=${coefficient}`],
    })),
    spa,
  ],
};
