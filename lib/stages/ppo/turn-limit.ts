import type { PpoConfig } from "../../config/schema.ts";

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
  const end = interaction.annealTo ?? begin;
  const over = interaction.over ?? steps;
  const share = over === 1 ? 1 : Math.min(1, (step - 1) / (over - 1));
  return Math.round(begin + (end - begin) * share);
}
