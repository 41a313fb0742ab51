import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { differingSettings } from "../config/difference.ts";
import { SpaError } from "../errors.ts";
import { lockHolder } from "../files/lock.ts";
import { stageTitle } from "../report/names.ts";
import { RunFolder } from "../run/run-folder.ts";

/** A run as the page lists it. */
export interface RunSummary {
  name: string;
  preset: string;
  environment: string;
  seed: number;
  arms: readonly string[];
  created: string;
  /** A process works in it; or all its stages have ended; or it has been left. */
  state: "running" | "done" | "stopped";
  /** The stage under way, in words, or the last one. */
  stage: string;
  tokens: number;
  seconds: number;
  /** Changes whenever the run has logged something. */
  version: string;
}

/** The runs that are watched: those that are named, or all in a folder, also those that are made later. */
export class WatchedRuns {
  readonly #folders: readonly string[];
  readonly #root: string | undefined;
  readonly #opened = new Map<string, { changed: number; run: RunFolder }>();

  constructor(folders: readonly string[], root?: string) {
    this.#folders = folders;
    this.#root = root;
  }

  /** Runs by name; what cannot be read is left out. */
  all(): RunFolder[] {
    const runs = this.#paths().flatMap((path) => {
      try {
        return [this.#open(path)];
      } catch (error) {
        if (error instanceof SpaError) return [];
        throw error;
      }
    });
    return runs.sort((left, right) => right.created.localeCompare(left.created));
  }

  /** @throws SpaError `UNKNOWN_NAME` */
  named(name: string | null): RunFolder {
    const path = this.#paths().find((other) => basename(other) === name);
    if (path === undefined) throw new SpaError("UNKNOWN_NAME", "there is no such run");
    return this.#open(path);
  }

  #paths(): string[] {
    const root = this.#root;
    if (root === undefined || !existsSync(root)) return [...this.#folders];
    const inner = readdirSync(root).map((name) => join(root, name));
    return [...this.#folders, ...inner.filter((path) => existsSync(join(path, "run.json")))];
  }

  /** Opened anew where its ledger has changed; a folder that stays the same keeps what it has read of its logs. */
  #open(path: string): RunFolder {
    const changed = statSync(join(path, "run.json")).mtimeMs;
    const known = this.#opened.get(path);
    if (known?.changed === changed) return known.run;
    const run = RunFolder.open(path);
    this.#opened.set(path, { changed, run });
    return run;
  }
}

export function summarize(run: RunFolder): RunSummary {
  const { config, stages, created, name } = run;
  const running = stages.find(({ state }) => state === "running");
  const isHeld = lockHolder(run.path) !== undefined;
  const total = (key: "seconds" | "tokensSampled" | "tokensTrained") =>
    stages.reduce((sum, stage) => sum + stage[key], 0);
  return {
    name,
    preset: config.preset,
    environment: config.environment.name,
    seed: config.seed,
    arms: config.arms,
    created,
    state: isHeld
      ? "running"
      : existsSync(run.file("results.json")) && running === undefined
        ? "done"
        : "stopped",
    stage: stageTitle((running ?? stages.at(-1))?.id ?? "not begun"),
    tokens: total("tokensSampled") + total("tokensTrained"),
    seconds: total("seconds"),
    version: [run.metrics.path, run.file("run.json")].map(stamp).join(" "),
  };
}

function stamp(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat ? `${stat.size}.${stat.mtimeMs}` : "";
}

/** Settings that runs differ in, each with its value in every run. */
export function settingTable(runs: readonly RunFolder[]): { path: string; values: unknown[] }[] {
  const [first, ...others] = runs.map(({ config }) => config);
  const paths = new Set(others.flatMap((config) => differingSettings(first, config).map(({ path }) => path)));
  const valueAt = (config: unknown, path: string) =>
    path
      .split(".")
      .reduce<unknown>((value, key) => (value as Record<string, unknown> | null | undefined)?.[key], config);
  return [...paths].map((path) => ({ path, values: runs.map(({ config }) => valueAt(config, path)) }));
}
