import { SpaError } from "../errors.ts";
import { didYouMean } from "../nearest-name.ts";
import type { RunFolder } from "../run/run-folder.ts";
import type { PlannedStage } from "../stages/schedule.ts";

/**
 * Forgets a stage and, of the planned ones after it, those that follow from it: its arm's, or all if the arms share it.
 *
 * @throws SpaError UNKNOWN_NAME for a stage that the run does not plan
 */
export function forgetStages(run: RunFolder, plan: readonly PlannedStage[], id: string): void {
  const index = plan.findIndex((stage) => stage.id === id);
  if (index < 0) {
    const ids = plan.map((stage) => stage.id);
    throw new SpaError("UNKNOWN_NAME", `there is no stage "${id}" in this run${didYouMean(id, ids)}`, {
      hint: `stages: ${ids.join(", ")}`,
    });
  }
  const { arm, kind } = plan[index];
  const follows = (stage: PlannedStage) =>
    kind !== "evaluate" && (arm === undefined || stage.arm === arm || stage.arm === undefined);
  for (const stage of [plan[index], ...plan.slice(index + 1).filter(follows)]) {
    if (run.stage(stage.id)) run.forgetStage(stage.id);
  }
}
