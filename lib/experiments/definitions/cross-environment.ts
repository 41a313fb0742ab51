import type { Experiment } from "../experiment.ts";
import { formatOnly, spa, vanilla } from "./arms.ts";

const sokoban = { rows: 6, columns: 6, boxes: 1, maxSteps: 20, searchDepth: 30 };
const frozenLake = { size: 4, slippery: false };

/** The other game's settings of a run, whichever is played. */
const others = {
  "frozen-lake": [
    "environment.name=sokoban",
    `environment.options=${JSON.stringify(sokoban)}`,
    "levels.maxDistance=5",
  ],
  sokoban: [
    "environment.name=frozen-lake",
    `environment.options=${JSON.stringify(frozenLake)}`,
    "levels.maxDistance=null",
  ],
};

export const crossEnvironment: Experiment = {
  name: "cross-environment",
  claim: "A world model of one game helps in another.",
  source: "SPA, arXiv 2510.15047, its transfer between Sokoban and FrozenLake",
  about:
    "PPO and evaluation are on the preset's game (nano-frozen-lake or nano-sokoban); from-the-other has its self-play and SFT on the other one. One base, which has seen both.",
  preset: "nano-frozen-lake",
  seeds: 3,
  settings: ({ environment }) => [
    `base.also=${JSON.stringify([
      environment.name === "sokoban"
        ? { name: "frozen-lake", options: frozenLake }
        : { name: "sokoban", options: sokoban },
    ])}`,
  ],
  arms: ({ environment }) => [
    vanilla,
    formatOnly,
    {
      ...spa,
      name: "from-the-other",
      about: "world model of the other game",
      worldModel: environment.name === "sokoban" ? others.sokoban : others["frozen-lake"],
    },
    { ...spa, name: "from-the-same", about: "world model of the game itself" },
  ],
};
