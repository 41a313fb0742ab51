import type { Experiment } from "../experiment.ts";
import { ownStates, spa } from "./arms.ts";

export const transition: Experiment = {
  name: "transition",
  claim:
    "What helps is the transition: SFT whose states carry no loss, or with one of the two states alone, gains less.",
  source: "SPA, arXiv 2510.15047, its ablation of transition modelling",
  about:
    "masked takes the states' tokens out of the loss, as the paper does; in a small model their form then drifts and turns become unreadable (column format), which says nothing of dynamics. The fair versions keep it: own-states trains the same tokens on what the model wrote itself, gentle leaves the states a twentieth of their weight, and observation-only and prediction-only put the truth into one state and the model's own text into the other. All have the same number of updates on the same trajectories.",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: () => [
    {
      name: "masked",
      about: "SFT without loss on either state",
      trains: "spa",
      worldModel: ["sft.mask=no-state"],
    },
    {
      name: "gentle",
      about: "SFT with a twentieth of the weight on the states",
      trains: "spa",
      worldModel: ["sft.weights.observation=0.05", "sft.weights.prediction=0.05"],
    },
    ownStates,
    {
      name: "observation-only",
      about: "true observations, the model's own predictions",
      trains: "spa",
      worldModel: ["sft.states=true-observation"],
    },
    {
      name: "prediction-only",
      about: "true predictions, the model's own observations",
      trains: "spa",
      worldModel: ["sft.states=true-prediction"],
    },
    spa,
  ],
};
