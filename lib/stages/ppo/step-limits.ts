import type { PpoConfig } from "../../config/schema.ts";
import type { DistanceLimit } from "../../rollout/levels.ts";

/**
 * Turns that an episode of a step's collection may take: `interaction.maxTurns` in the first step, `interaction.annealTo` from step
 * `over` on, and in between on the line through both, rounded. With ever fewer turns the agent must foresee what it could try
 * before (WMAct, arXiv 2511.23476).
 *
 * @param step from 1 on
 * @param maxTurns the protocol's limit, from which the line begins where the settings name no other
 */
export function turnLimit(
  step: number,
  { interaction, steps }: Pick<PpoConfig, "interaction" | "steps">,
  maxTurns: number,
): number {
  const begin = interaction.maxTurns ?? maxTurns;
  return onLine(step, begin, interaction.annealTo ?? begin, interaction.over ?? steps);
}

/**
 * The bound on a step's training levels where they grow harder: `curriculum.fromDistance` in the first step, the run's own from step
 * `over` on, and in between on the line through both, rounded.
 *
 * @param step from 1 on
 * @param maxDistance the run's, `levels.maxDistance`
 * @returns undefined where the run's holds
 */
export function distanceLimit(
  step: number,
  { curriculum, steps }: Pick<PpoConfig, "curriculum" | "steps">,
  maxDistance: number | null,
): DistanceLimit | undefined {
  const { fromDistance, over } = curriculum;
  if (fromDistance === null || maxDistance === null) return undefined;
  return {
    maxDistance: onLine(step, fromDistance, maxDistance, over ?? steps),
    setting: "ppo.curriculum.fromDistance",
  };
}

/** `begin` in step 1, `end` from step `over` on, and in between on the line through both, rounded. */
function onLine(step: number, begin: number, end: number, over: number): number {
  const share = over === 1 ? 1 : Math.min(1, (step - 1) / (over - 1));
  return Math.round(begin + (end - begin) * share);
}
