import type { Experiment } from "../experiment.ts";
import { spa, vanilla } from "./arms.ts";

export const mask: Experiment = {
  name: "mask",
  claim: "PPO's loss on the answer alone is enough.",
  source: "SPA's project page; the published code puts it on every token of the dialogue",
  about:
    "The prediction stands before the answer and fixes it: with loss on the answer alone PPO cannot teach the model to foresee success, it can only choose among what it foresees.",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: () => [
    vanilla,
    { ...spa, name: "answer", about: "SPA with loss on the answer", ppo: ["ppo.mask=answer"] },
    { ...spa, name: "response", about: "SPA with loss on all sampled tokens", ppo: ["ppo.mask=response"] },
  ],
};
