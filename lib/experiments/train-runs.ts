import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { Config } from "../config/schema.ts";
import { SpaError, throwIfAborted } from "../errors.ts";
import { packageRoot } from "../package.ts";
import { createRun, isAhead } from "../pipeline.ts";
import { RunFolder } from "../run/run-folder.ts";
import { scheduleStages } from "../stages/schedule.ts";
import { chosenSettings, type PlannedRun } from "./plan.ts";

/** What is told while runs are trained. */
export interface RunEvents {
  /** A run's process has begun, or goes on. */
  begins(run: PlannedRun): void;
  /** A stage of a run has done so much of its work, from 0 to 1. */
  stage(run: PlannedRun, stage: string, share: number): void;
  /** A sentence of the run's own. */
  note(run: PlannedRun, text: string): void;
  /** Another process works in a run's folder, as the error says. It is waited for. */
  waits(run: PlannedRun, lock: SpaError): void;
  ends(run: PlannedRun, failure: SpaError | undefined): void;
}

/** Milliseconds between attempts at a run that another process works in. */
const LOCK_PATIENCE = 5000;

interface TrainRunsOptions {
  /** Processes at a time. */
  jobs: number;
  /** Execute an environment's module that the runs name. */
  trust?: boolean;
  signal?: AbortSignal | undefined;
}

/** Whether everything that a run schedules is done. */
export function isDone(run: PlannedRun): boolean {
  if (!existsSync(join(run.folder, "run.json"))) return false;
  const folder = RunFolder.open(run.folder);
  return !scheduleStages(folder.config).some((stage) => isAhead(folder, stage));
}

/**
 * Trains runs, each in a process of its own, in their order and no run before the one that it starts from. Runs that are
 * done are left as they are, those that were interrupted go on. Where one fails, those that do not need it go on.
 *
 * @returns runs that failed, or that could not begin for want of one that failed, with why
 * @throws SpaError ABORTED once every process has saved and ended
 */
export async function trainRuns(
  runs: readonly PlannedRun[],
  events: RunEvents,
  { jobs, trust = false, signal }: TrainRunsOptions,
): Promise<Map<PlannedRun, SpaError>> {
  const failures = new Map<PlannedRun, SpaError>();
  const waiting = new Set(runs.filter((run) => !isDone(run)));
  const active = new Map<PlannedRun, Promise<void>>();
  const isReady = ({ after }: PlannedRun) =>
    after === undefined || !(waiting.has(after) || active.has(after) || failures.has(after));
  using processes = new RunProcesses(signal);
  const work = async (run: PlannedRun): Promise<void> => {
    events.begins(run);
    const failure = await trainRun(run, events, { trust, signal, processes });
    if (failure) failures.set(run, failure);
    active.delete(run);
    events.ends(run, failure);
  };
  while (waiting.size > 0 || active.size > 0) {
    for (const run of waiting) {
      if (run.after === undefined || !failures.has(run.after)) continue;
      waiting.delete(run);
      failures.set(run, new SpaError("BAD_CHECKPOINT", `it starts from ${run.after.name}, which has failed`));
    }
    const ready = [...waiting].filter(isReady);
    for (const run of signal?.aborted ? [] : ready.slice(0, Math.max(0, jobs - active.size))) {
      waiting.delete(run);
      active.set(run, work(run));
    }
    if (active.size === 0) break;
    await Promise.race(active.values());
  }
  throwIfAborted(signal);
  return failures;
}

/** Trains one run to its end. Gives why it failed. */
async function trainRun(
  run: PlannedRun,
  events: RunEvents,
  { trust, signal, processes }: { trust: boolean; signal: AbortSignal | undefined; processes: RunProcesses },
): Promise<SpaError | undefined> {
  try {
    await makeRun(run, events, signal);
    const args = ["train", "--resume", run.folder, "--log", "json", ...(trust ? ["--trust"] : [])];
    for (let waited = false; ; waited = true) {
      const failure = await watchRun(run, processes.start(args), events);
      if (failure && signal?.aborted) return stopped(run);
      if (failure?.code !== "RUN_LOCKED") return failure;
      // Perhaps another experiment that shares it: what that comes to is what this one would.
      if (!waited) events.waits(run, failure);
      await sleep(LOCK_PATIENCE, undefined, { signal }).catch(() => {});
    }
  } catch (error) {
    if (error instanceof SpaError) return error;
    throw error;
  }
}

/** Makes the folder of a run, unless it is there. @throws SpaError BAD_CHECKPOINT where it is another run's */
async function makeRun(run: PlannedRun, events: RunEvents, signal: AbortSignal | undefined): Promise<void> {
  const isThere = () => existsSync(join(run.folder, "run.json"));
  if (!isThere()) {
    const progress = { stage() {}, tick() {}, done() {}, note: (text: string) => events.note(run, text) };
    try {
      await createRun(run.config, {
        name: basename(run.folder),
        root: dirname(run.folder),
        signal,
        progress,
      });
      return;
    } catch (error) {
      // Unless another process has made it meanwhile.
      if (!isThere()) throw error;
    }
  }
  // A folder's model is the commit or digest that was found, and its engine what was planned for the memory.
  const settingsOf = (config: Config) => chosenSettings({ ...config, model: run.shape });
  const [there, wanted] = [settingsOf(RunFolder.open(run.folder).config), settingsOf(run.config)];
  const other = [...new Set([...Object.keys(there), ...Object.keys(wanted)])].find(
    (name) => !name.startsWith("engine.") && !isDeepStrictEqual(there[name], wanted[name]),
  );
  if (other === undefined) return;
  throw new SpaError("BAD_CHECKPOINT", `${run.folder} is a run with another ${other}`, {
    hint: "remove the folder, and it is trained anew",
  });
}

/** The processes of runs: none goes on without this one. */
class RunProcesses implements Disposable {
  readonly #children = new Set<ChildProcess>();
  readonly #signal: AbortSignal | undefined;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
    signal?.addEventListener("abort", this.#stop);
    process.once("exit", this.#end);
  }

  /** Starts `spa` with these arguments. */
  start(args: readonly string[]): ChildProcess {
    // A group of its own: what a terminal's Ctrl-C means, this process tells it, once.
    const child = spawn(process.execPath, [join(packageRoot(), "bin", "spa.mjs"), ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#children.add(child);
    child.on("close", () => this.#children.delete(child));
    if (this.#signal?.aborted) child.kill("SIGINT");
    return child;
  }

  readonly #stop = (): void => {
    for (const child of this.#children) child.kill("SIGINT");
  };

  readonly #end = (): void => {
    for (const child of this.#children) child.kill("SIGKILL");
  };

  [Symbol.dispose](): void {
    this.#signal?.removeEventListener("abort", this.#stop);
    process.off("exit", this.#end);
  }
}

/** Follows a run's process to its end. */
function watchRun(run: PlannedRun, child: ChildProcess, events: RunEvents): Promise<SpaError | undefined> {
  let complaint = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-10_000);
  });
  if (child.stdout) createInterface({ input: child.stdout }).on("line", (line) => tell(run, line, events));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, killer) => {
      resolve(code === 0 ? undefined : failureOf(run, complaint, code ?? killer));
    });
  });
}

/** Passes on a line that `spa train --log json` has written. */
function tell(run: PlannedRun, line: string, events: RunEvents): void {
  let event: { event?: unknown; stage?: unknown; total?: unknown; done?: unknown; text?: unknown };
  try {
    event = JSON.parse(line);
  } catch {
    return;
  }
  const { stage, total, done, text } = event;
  if (event.event === "note" && typeof text === "string") events.note(run, text);
  if (typeof stage !== "string" || typeof total !== "number" || typeof done !== "number") return;
  events.stage(run, stage, event.event === "stageEnd" ? 1 : done / Math.max(total, 1));
}

/** A run that was told to stop is no failure: it has saved, and goes on another time. */
function stopped({ name }: PlannedRun): SpaError {
  return new SpaError("ABORTED", `${name} was stopped`, { hint: "the same command goes on" });
}

/** What a run's process said when it failed: `error CODE: message`, `hint: …`. */
function failureOf(run: PlannedRun, complaint: string, code: number | NodeJS.Signals | null): SpaError {
  const said = complaint.split("\n").findLast((line) => /^error [A-Z_]+: /.test(line));
  const message = said?.replace(/^error [A-Z_]+: /, "") ?? `its process ended with ${code}`;
  const name = said?.split(/[ :]/)[1] ?? "INTERNAL";
  return new SpaError(name as SpaError["code"], message, {
    hint: `look into it with: npx spa train --resume ${run.folder}`,
  });
}
