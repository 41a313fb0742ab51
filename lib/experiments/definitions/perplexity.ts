import type { Experiment } from "../experiment.ts";
import { spa } from "./arms.ts";

export const perplexity: Experiment = {
  name: "perplexity",
  claim: "The states of these games are foreign to the model; coordinates and SFT make them familiar.",
  source: "SPA, arXiv 2510.15047, its table of perplexities of raw and structured states",
  about:
    "The last table: how well base, SFT and PPO models foretell true states. A nano base has seen the grids of its own pre-training, so the paper's first half (raw grids are foreign to an LLM) is one for spa perplexity <Hub id>; the second half is the row after SFT.",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: () => [
    {
      ...spa,
      name: "grid",
      about: "SPA whose states are grids without coordinates",
      base: ["protocol.traceState=grid"],
    },
    { ...spa, name: "structured", about: "SPA whose states have coordinates" },
  ],
};
