import type { Experiment } from "../experiment.ts";
import { formatOnly, spa, vanilla } from "./arms.ts";

/** What the base has seen: both sizes, as an instruct LLM has seen grids of any. */
const mixed = 'base.also=[{"name":"frozen-lake","options":{"size":4,"slippery":false}}]';

export const easyToHard: Experiment = {
  name: "easy-to-hard",
  claim: "A world model from an easy world helps PPO in a harder one.",
  source: "SPA, arXiv 2510.15047, its generalisation from FrozenLake 4x4 to 6x6",
  about:
    "All play and are evaluated on 6x6; only where the world model comes from differs. One base, which has seen both sizes.",
  preset: "nano-frozen-lake",
  environment: "frozen-lake",
  seeds: 3,
  settings: ({ model }) => [
    "environment.options.size=6",
    ...(model.kind === "nano" ? ["protocol.maxTokens=2048", "protocol.maxNewTokens=260", mixed] : []),
  ],
  arms: () => [
    vanilla,
    formatOnly,
    {
      ...spa,
      name: "from-4x4",
      about: "world model of 4x4, PPO on 6x6",
      worldModel: ["environment.options.size=4"],
    },
    { ...spa, name: "from-6x6", about: "world model and PPO on 6x6" },
  ],
};
