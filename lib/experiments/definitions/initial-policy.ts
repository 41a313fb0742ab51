import type { Experiment } from "../experiment.ts";
import { spa } from "./arms.ts";

export const initialPolicy: Experiment = {
  name: "initial-policy",
  claim: "Data of the agent's own policy teach it more than data of random actions.",
  source: "SPA, arXiv 2510.15047, its ablation of the self-play policy",
  about:
    "The nano base acts at random itself, so the two hardly differ from it; read this with a base that has preferences (an LLM, or start=… of a run that was trained).",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: () => [
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
  ],
};
