import type { Experiment } from "../experiment.ts";
import { spa, vanilla } from "./arms.ts";

export const interaction: Experiment = {
  name: "interaction",
  claim: "A shrinking budget of turns in training makes the agent foresee instead of trying.",
  source: "WMAct, arXiv 2511.23476",
  about:
    "The paper also scales the reward by the share of actions that had an effect, which is not in this. Training turns fall linearly from five to two over PPO; all arms are evaluated with the preset's turns.",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: ({ ppo }) => {
    const annealed = ["ppo.interaction.annealTo=2", `ppo.interaction.over=${ppo.steps}`];
    return [
      vanilla,
      { ...vanilla, name: "vanilla-annealed", about: "vanilla-rl with fewer and fewer turns", ppo: annealed },
      { ...spa, name: "spa-annealed", about: "SPA with fewer and fewer turns", ppo: annealed },
      spa,
    ];
  },
  comparisons: [
    ["vanilla-annealed", "vanilla-rl"],
    ["spa-annealed", "spa"],
  ],
};
