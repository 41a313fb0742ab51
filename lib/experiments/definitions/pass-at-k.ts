import type { Experiment } from "../experiment.ts";
import { spa, vanilla } from "./arms.ts";

export const passAtK: Experiment = {
  name: "pass-at-k",
  claim: "Plain RL raises Pass@1 and lowers Pass@k: exploration is lost. With a world model both rise.",
  source: "SPA, arXiv 2510.15047, its figure of Pass@k over training",
  about:
    "Every ten steps 64 attempts at each of 64 tuning levels. The base has explored whatever sampling can reach; PPO can only move probability, so a falling Pass@64 says that solutions were given up.",
  preset: "nano-frozen-lake",
  seeds: 3,
  settings: () => ["ppo.validateEvery=10", "ppo.validationLevels=64", "ppo.validationSamples=64"],
  arms: () => [vanilla, spa],
  curves: [4, 16, 64].map((k) => ({
    metric: `validation_pass_at_${k}`,
    title: `Pass@${k} on tuning levels, by step`,
    share: true,
  })),
};
