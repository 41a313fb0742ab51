import type { RunFolder } from "../run/run-folder.ts";
import type { TrajectoryEntry } from "../run/trajectory-log.ts";
import type { StageTrajectories } from "./trajectory-section.ts";

/** Steps of a stage that are shown: the first, the last, and others at even distances. */
const shownSteps = 4;

/** Trajectories of a stage that are shown at most. */
const shownTrajectories = 12;

/** Some trajectories of every stage: from its whole length, and of both outcomes where there are both. */
export function chooseTrajectories(run: RunFolder): StageTrajectories[] {
  return run.stagesWithTrajectories().flatMap((stage) => {
    const log = run.trajectories(stage);
    const rows = log.index();
    if (rows.length === 0) return [];
    const steps = spread([...new Set(rows.map(({ step }) => step))], shownSteps);
    const perStep = Math.floor(shownTrajectories / steps.length);
    const chosen = steps.flatMap((step) =>
      bothOutcomes(
        rows.filter((row) => row.step === step),
        perStep,
      ),
    );
    return [{ stage, logged: rows.length, chosen: chosen.map((entry) => log.at(entry)) }];
  });
}

/** `count` of the items in their order, the first and the last among them. */
function spread<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items];
  if (count === 1) return [items[items.length - 1]];
  return Array.from({ length: count }, (_, k) => items[Math.round((k * (items.length - 1)) / (count - 1))]);
}

/** Half of each outcome as far as there are enough, in the order of the log. */
function bothOutcomes(rows: readonly TrajectoryEntry[], count: number): TrajectoryEntry[] {
  const solved = rows.filter(({ success }) => success);
  const others = rows.filter(({ success }) => !success);
  const half = Math.ceil(count / 2);
  const takenSolved = Math.min(solved.length, Math.max(half, count - others.length));
  const chosen = new Set([...spread(solved, takenSolved), ...spread(others, count - takenSolved)]);
  return rows.filter((row) => chosen.has(row));
}
