import type { Experiment } from "../experiment.ts";
import { spa } from "./arms.ts";

export const filter: Experiment = {
  name: "filter",
  claim: "Training on the groups whose rewards differ most learns faster per trained token.",
  source: "RAGEN, arXiv 2504.20073 (share of groups); RAGEN-2 (share of the summed deviation)",
  about: "Equal steps, so equal sampled tokens; the filters differ in what is trained on (column of tokens).",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: () => [
    { ...spa, name: "none", about: "all groups", ppo: ["ppo.filter.kind=none"] },
    {
      ...spa,
      name: "half",
      about: "half of the groups",
      ppo: ["ppo.filter.kind=ratio", "ppo.filter.value=0.5"],
    },
    {
      ...spa,
      name: "top-p",
      about: "groups that make up .9 of the summed deviation",
      ppo: ["ppo.filter.kind=top-p", "ppo.filter.value=0.9"],
    },
    {
      ...spa,
      name: "quarter",
      about: "a quarter of the groups",
      ppo: ["ppo.filter.kind=ratio", "ppo.filter.value=0.25"],
    },
  ],
};
