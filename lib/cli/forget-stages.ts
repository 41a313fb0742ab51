import { SpaError } from "../errors.ts";
import { didYouMean } from "../nearest-name.ts";
import type { RunFolder } from "../run/run-folder.ts";
import type { ScheduledStage } from "../stages/schedule.ts";

/**
 * Forgets a stage and, of the planned ones after it, those that follow from it: its arm's, or all if the arms share it.
 *
 * @throws SpaError UNKNOWN_NAME for a stage that the run does not schedule
 */
export function forgetStages(run: RunFolder, schedule: readonly ScheduledStage[], id: string): void {
  const index = schedule.findIndex((stage) => stage.id === id);
  if (index < 0) {
    const ids = schedule.map((stage) => stage.id);
    throw new SpaError("UNKNOWN_NAME", `there is no stage "${id}" in this run${didYouMean(id, ids)}`, {
      hint: `stages: ${ids.join(", ")}`,
    });
  }
  const { arm, kind } = schedule[index];
  const follows = (stage: ScheduledStage) =>
    kind !== "evaluate" && (arm === undefined || stage.arm === arm || stage.arm === undefined);
  for (const stage of [schedule[index], ...schedule.slice(index + 1).filter(follows)]) {
    if (run.stage(stage.id)) run.forgetStage(stage.id);
  }
}
