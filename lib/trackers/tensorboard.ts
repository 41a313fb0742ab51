import { hostname } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { makeFolders } from "../files/folders.ts";
import { stageFileName } from "../run/ledger.ts";
import type { MetricsRow } from "../run/metrics.ts";
import type { RunFolder } from "../run/run-folder.ts";
import type { LoggedTrajectory } from "../run/trajectory-log.ts";
import { EventFile } from "./event-file.ts";
import { flatSettings } from "./flat-settings.ts";
import type { Tracker } from "./tracker.ts";

/** Trajectories of a step that are written as text. */
const shownTrajectories = 2;

const now = () => Date.now() / 1000;

/**
 * Writes `<run>/tensorboard/<stage>/events.out.tfevents.*`, so that TensorBoard shows each stage as a run and lays the same
 * metric of several arms over each other. Each process begins files of its own, which void what earlier ones hold beyond the
 * checkpoint that it goes on from. A file that could not be written is given up, and all rows of its stage go into a new one at the next
 * checkpoint.
 *
 * @param tell is given what the system refuses
 */
export function tensorboardTracker(run: RunFolder, tell: (error: unknown) => void): Tracker {
  let stage = "";
  let file: EventFile | undefined;
  let files = 0;
  const close = () => {
    const open = file;
    file = undefined;
    open?.close();
  };
  const writing = (work: () => void) => {
    try {
      work();
    } catch (error) {
      tell(error);
      writing(close);
    }
  };
  const open = (step: number): EventFile => {
    const folder = run.file("tensorboard", stageFileName(stage));
    makeFolders(folder);
    const time = now();
    // TensorBoard reads a folder's files in the order of their names.
    const name = `events.out.tfevents.${time.toFixed(3)}.${hostname()}.${process.pid}.${files++}`;
    file = new EventFile(join(folder, name), time);
    file.start(time, step + 1);
    if (step >= 0) return file;
    file.hyperparameters(time, flatSettings(run.config));
    file.summaries(time, 0, [["config", codeBlock(stringify(run.config))]]);
    return file;
  };
  return {
    begins: (id, step) =>
      writing(() => {
        close();
        stage = id;
        open(step);
      }),
    logs: (row) => writing(() => file?.summaries(now(), row.step, scalarsOf(row))),
    plays: (_, trajectories) =>
      writing(() => {
        const texts = trajectories.slice(0, shownTrajectories).map(describe);
        if (texts.length > 0) file?.summaries(now(), trajectories[0].step, texts);
      }),
    saves: () =>
      writing(() => {
        if (file) return;
        const fresh = open(-1);
        for (const row of run.metrics.rows())
          if (row.stage === stage) fresh.summaries(now(), row.step, scalarsOf(row));
      }),
    close: () => writing(close),
  };
}

function scalarsOf({ stage: _, step: __, ...figures }: MetricsRow): [string, number][] {
  return Object.entries(figures).filter((entry): entry is [string, number] => typeof entry[1] === "number");
}

function describe(
  { seed, success, totalReward, pieces }: LoggedTrajectory,
  index: number,
): [tag: string, text: string] {
  const text = pieces.map(([, , , piece]) => piece).join("");
  const head = `level seed ${seed}, ${success ? "solved" : "not solved"}, reward ${totalReward}`;
  return [`trajectory/${index}`, `${head}\n\n${codeBlock(text)}`];
}

/** Indented, text is a block of code in Markdown: nothing in it is markup. */
function codeBlock(text: string): string {
  return `    ${text.trimEnd().replaceAll(/\r\n|\r|\n/g, "\n    ")}`;
}
