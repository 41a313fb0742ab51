import type { Config } from "../../config/schema.ts";
import { SpaError } from "../../errors.ts";
import type { SftExample } from "./examples.ts";
import { supervisedTokens } from "./loss-weights.ts";

/** What decides which tokens carry loss. */
type LossSettings = Pick<Config["sft"], "mask" | "weights">;

/** Whether a token of an example carries loss. */
export function carriesLoss(example: SftExample, { mask, weights }: LossSettings): boolean {
  return supervisedTokens(mask, example, weights).mask.includes(1);
}

/**
 * Refuses data that hold nothing to train on.
 *
 * @param source the file or self-play's stage, for the message
 * @param model decides the remedy where self-play has come to nothing
 * @throws SpaError BAD_ARGUMENT naming source and setting
 */
export function checkTrainable(
  examples: readonly SftExample[],
  settings: LossSettings,
  source: string,
  model: Config["model"]["kind"] = "pretrained",
): void {
  const refuse = (why: string, hint: string) => {
    throw new SpaError("BAD_ARGUMENT", `${source} has nothing to train on: ${why}`, { hint });
  };
  if (examples.length === 0) {
    const remedy =
      model === "nano"
        ? "train the base longer (base.steps)"
        : "take a model that follows the format, or data that is there already (spa sft --data)";
    refuse(
      "no turn of self-play was well-formed",
      `look at self-play's trajectories (spa show), and ${remedy}`,
    );
  }
  const training = examples.filter(({ split }) => split === "train");
  if (training.length === 0) {
    refuse(
      `all ${examples.length} trajectories are held back for validation`,
      "lower sft.validationShare, or raise selfPlay.trajectories",
    );
  }
  if (!training.some((example) => carriesLoss(example, settings))) {
    refuse(
      `sft.mask=${settings.mask} selects no token of its ${training.length} sequences that sft.weights gives a weight above 0`,
      "take a mask that the replies have text for (sft.mask=full), or write observation and prediction into them",
    );
  }
}
