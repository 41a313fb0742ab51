import type { Config } from "../config/schema.ts";
import type { Progress } from "../run/progress.ts";
import type { RunFolder } from "../run/run-folder.ts";
import { visibleLine } from "../visible-text.ts";
import { mlflowSink } from "./mlflow.ts";
import { pythonSink } from "./python-sink.ts";
import { rowSender, TrackerState } from "./row-sender.ts";
import { tensorboardTracker } from "./tensorboard.ts";
import type { Tracker } from "./tracker.ts";

type TrackerName = Config["trackers"][number];

/** The trackers of a run's settings. Those that fail say so once, and stop nothing. */
export function openTrackers(run: RunFolder, progress: Progress): Tracker[] {
  return run.config.trackers.flatMap((name) => {
    let hasFailed = false;
    const tell = (error: unknown) => {
      const why = visibleLine(error instanceof Error ? error.message : String(error));
      if (!hasFailed)
        progress.note(`warning: ${name} takes nothing (${why}); its rows are kept, and sent later`);
      hasFailed = true;
    };
    return openTracker(name, run, tell) ?? [];
  });
}

function openTracker(name: TrackerName, run: RunFolder, tell: (error: unknown) => void): Tracker | undefined {
  if (name === "jsonl") return undefined;
  if (name === "tensorboard") return tensorboardTracker(run, tell);
  const state = new TrackerState(run, name);
  const sink = name === "mlflow" ? mlflowSink(run, state) : pythonSink(name, run, state);
  return rowSender(run, state, sink, tell);
}
