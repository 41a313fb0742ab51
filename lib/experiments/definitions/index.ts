import type { Experiment } from "../experiment.ts";
import { advantage } from "./advantage.ts";
import { crossEnvironment } from "./cross-environment.ts";
import { easyToHard } from "./easy-to-hard.ts";
import { filter } from "./filter.ts";
import { groundTruth } from "./ground-truth.ts";
import { initialPolicy } from "./initial-policy.ts";
import { interaction } from "./interaction.ts";
import { keepWorldModel } from "./keep-world-model.ts";
import { main } from "./main.ts";
import { mask } from "./mask.ts";
import { observationLoss } from "./observation-loss.ts";
import { passAtK } from "./pass-at-k.ts";
import { perplexity } from "./perplexity.ts";
import { rlWorldModel } from "./rl-world-model.ts";
import { scale } from "./scale.ts";
import { transition } from "./transition.ts";

/** Every experiment, in the order in which a reader meets them. */
export const experiments: readonly Experiment[] = [
  main,
  passAtK,
  perplexity,
  transition,
  groundTruth,
  initialPolicy,
  easyToHard,
  crossEnvironment,
  scale,
  mask,
  advantage,
  filter,
  observationLoss,
  rlWorldModel,
  keepWorldModel,
  interaction,
];
