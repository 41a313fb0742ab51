import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { z } from "zod";
import { writeFileAtomically } from "../files/atomic-file.ts";
import { makeFolders } from "../files/folders.ts";
import { readShape } from "../files/shape.ts";
import type { MetricsRow } from "../run/metrics.ts";
import type { RunFolder } from "../run/run-folder.ts";
import type { RowSink, Tracker } from "./tracker.ts";

const stateSchema = z.object({
  /** Rows of each stage that the service has. */
  sent: z.record(z.string(), z.int().min(0)),
  /** What the service calls the run. */
  id: z.string().optional(),
});

type SenderState = z.infer<typeof stateSchema>;

/** What a run folder remembers of a service, in trackers/<name>.json. */
export class TrackerState {
  readonly #file: string;
  #state: SenderState;

  constructor(run: RunFolder, name: string) {
    this.#file = run.file("trackers", `${name}.json`);
    const hint = "delete the file to send the run's rows again from the first on";
    this.#state = (existsSync(this.#file) && readShape(stateSchema, this.#file, hint)) || { sent: {} };
  }

  get id(): string | undefined {
    return this.#state.id;
  }

  get sent(): Readonly<SenderState["sent"]> {
    return this.#state.sent;
  }

  write(change: Partial<SenderState>): void {
    this.#state = { ...this.#state, ...change };
    makeFolders(dirname(this.#file));
    writeFileAtomically(this.#file, `${JSON.stringify(this.#state)}\n`);
  }
}

/** Rows that are sent at once. */
const batchRows = 100;

/**
 * Sends a run's rows to a service, beside the training. metrics.jsonl is what still has to be sent: rows that the service did
 * not take stay there, and go with the next checkpoint's, at the run's end or, at the latest, when it is gone on with.
 *
 * @param tell is given what a service throws
 */
export function rowSender(
  run: RunFolder,
  state: TrackerState,
  sink: RowSink,
  tell: (error: unknown) => void,
): Tracker {
  let isSending = false;
  let underWay = Promise.resolve();
  const send = async () => {
    for (let rows = unsent(run, state); rows.length > 0; rows = unsent(run, state)) {
      const batch = rows.slice(0, batchRows);
      await sink.send(batch);
      const sent = { ...state.sent };
      for (const { stage } of batch) sent[stage] = (sent[stage] ?? 0) + 1;
      state.write({ sent });
    }
  };
  return {
    begins: (stage, step) => {
      // A stage that is done again is another one.
      if (step < 0 && (state.sent[stage] ?? 0) > 0) state.write({ sent: { ...state.sent, [stage]: 0 } });
    },
    saves: () => {
      if (isSending) return;
      isSending = true;
      underWay = send()
        .catch(tell)
        .finally(() => {
          isSending = false;
        });
    },
    close: async () => {
      await underWay;
      await send().catch(tell);
      const isDone = run.stages.every(({ state: stage }) => stage !== "running");
      await sink.close(isDone).catch(tell);
    },
  };
}

/** Rows that stand behind a checkpoint or in a stage that has ended, without those that the service has. */
function unsent(run: RunFolder, { sent }: TrackerState): MetricsRow[] {
  const seen: Record<string, number> = {};
  const rows: MetricsRow[] = [];
  for (const row of run.metrics.rows()) {
    seen[row.stage] = (seen[row.stage] ?? 0) + 1;
    if (seen[row.stage] > (sent[row.stage] ?? 0) && row.step <= lastKept(run, row.stage)) rows.push(row);
  }
  return rows;
}

/** The last step that a resume would keep. */
function lastKept(run: RunFolder, stage: string): number {
  if (run.stage(stage)?.state === "done") return Number.POSITIVE_INFINITY;
  return run.checkpoints.findLast((checkpoint) => checkpoint.stage === stage)?.step ?? -1;
}
