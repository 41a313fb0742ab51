import type { MetricsRow } from "./metrics.ts";
import type { LoggedTrajectory } from "./trajectory-log.ts";

/**
 * Follows a run while it works: its report, a tracker, a program. Each is told after the run folder has it. Those that only
 * show what a run does keep their failures to themselves.
 */
export interface RunObserver {
  /** A stage begins, or goes on after `step` (-1: from its beginning): what it had logged after that is dropped. */
  begins?(stage: string, step: number): void;
  logs?(row: MetricsRow): void;
  plays?(stage: string, trajectories: readonly LoggedTrajectory[]): void;
  /** What the run has come to is on disk: a checkpoint has been saved, or a stage has ended. */
  saves?(): void;
}

/** Several observers as one. */
export function observeAll(observers: readonly RunObserver[]): Required<RunObserver> {
  return {
    begins: (stage, step) => {
      for (const observer of observers) observer.begins?.(stage, step);
    },
    logs: (row) => {
      for (const observer of observers) observer.logs?.(row);
    },
    plays: (stage, trajectories) => {
      for (const observer of observers) observer.plays?.(stage, trajectories);
    },
    saves: () => {
      for (const observer of observers) observer.saves?.();
    },
  };
}
