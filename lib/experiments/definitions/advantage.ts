import type { Experiment } from "../experiment.ts";
import { criticFree, spa } from "./arms.ts";

export const advantage: Experiment = {
  name: "advantage",
  claim: "SPA's gain does not hang on how advantages are estimated.",
  source:
    "GAE arXiv 1506.02438, bi-level VAGEN arXiv 2510.16907, GRPO 2402.03300, Dr. GRPO 2503.20783, RLOO 2402.14740, GiGPO 2505.10978",
  about:
    "One world model a seed, PPO from it with each estimator; those that compare a level's trajectories have no critic.",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: () => [
    {
      ...spa,
      name: "bi-level",
      about: "GAE over turns, then within them",
      ppo: ["ppo.advantage.estimator=bi-level"],
    },
    { ...spa, name: "grpo", about: "group-relative", ppo: criticFree("grpo") },
    {
      ...spa,
      name: "dr-grpo",
      about: "group-relative without the deviation",
      ppo: [...criticFree("grpo"), "ppo.advantage.divideByDeviation=false"],
    },
    { ...spa, name: "rloo", about: "against the others of the group", ppo: criticFree("rloo") },
    {
      ...spa,
      name: "gigpo",
      about: "group-relative, also between turns from equal states",
      ppo: [...criticFree("gigpo"), "ppo.rewards.placement=turn"],
    },
    { ...spa, name: "gae", about: "generalised advantage estimation, as in the preset" },
  ],
};
