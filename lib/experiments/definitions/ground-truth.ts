import type { Experiment } from "../experiment.ts";
import { ownStates, spa } from "./arms.ts";

export const groundTruth: Experiment = {
  name: "ground-truth",
  claim: "The states must be true: with random coordinates in their place the gain is gone.",
  source: "SPA, arXiv 2510.15047, its ablation of ground-truth coordinates",
  about:
    "An LLM reads positions off coordinates, so random ones ruin its states. A nano model reads them off the grid as well: random-coordinates leaves that true, random-states does not. grid-states has no coordinates at all; in coordinate-states they stand alone, and random-coordinate-states has random ones in their place, so that nothing of the truth is left.",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: () => [
    {
      name: "random-states",
      about: "SFT on other states of the environment, grid and coordinates",
      trains: "spa",
      worldModel: ["sft.states=random"],
    },
    {
      name: "random-coordinates",
      about: "SFT on true grids with random coordinates",
      trains: "spa",
      worldModel: ["sft.states=random-coordinates"],
    },
    ownStates,
    {
      name: "grid-states",
      about: "SPA whose states are grids without coordinates",
      trains: "spa",
      base: ["protocol.traceState=grid"],
    },
    {
      name: "random-coordinate-states",
      about: "states are coordinates alone, and random",
      trains: "spa",
      base: ["protocol.traceState=coordinates"],
      worldModel: ["sft.states=random-coordinates"],
    },
    {
      name: "coordinate-states",
      about: "SPA whose states are coordinates alone",
      trains: "spa",
      base: ["protocol.traceState=coordinates"],
    },
    spa,
  ],
};
