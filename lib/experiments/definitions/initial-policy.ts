import type { Experiment } from "../experiment.ts";
import { spa, vanilla } from "./arms.ts";

/** A base with preferences: plain RL has given it some. */
const trained = { arm: vanilla.name, stage: "control/ppo" };

export const initialPolicy: Experiment = {
  name: "initial-policy",
  claim: "Data of the agent's own policy teach it more than data of random actions.",
  source: "SPA, arXiv 2510.15047, its ablation of the self-play policy",
  about:
    "The nano base acts at random itself, so from it the two can hardly differ. The last two arms start from a model that has preferences: the one that vanilla-rl came to.",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: () => [
    vanilla,
    {
      name: "random-actions",
      about: "self-play's actions are replaced by random ones",
      trains: "spa",
      worldModel: ["selfPlay.policy=random"],
    },
    {
      name: "random-actions-one-epoch",
      about: "the same, one epoch of SFT",
      trains: "spa",
      worldModel: ["selfPlay.policy=random", "sft.epochs=1"],
    },
    {
      name: "spa-one-epoch",
      about: "the model's own policy, one epoch of SFT",
      trains: "spa",
      worldModel: ["sft.epochs=1"],
    },
    spa,
    {
      name: "biased-random-actions",
      about: "from vanilla-rl's model, random actions",
      trains: "spa",
      from: trained,
      worldModel: ["selfPlay.policy=random"],
    },
    { ...spa, name: "biased-spa", about: "from vanilla-rl's model, its own policy", from: trained },
  ],
  comparisons: [
    ["spa", "random-actions"],
    ["spa-one-epoch", "random-actions-one-epoch"],
    ["biased-spa", "biased-random-actions"],
  ],
};
