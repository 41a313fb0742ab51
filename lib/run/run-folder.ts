// A run is a folder. Whatever happened in it stands in run.json, the ledger; a file that the ledger does not know of
// (an unfinished checkpoint, a log line of a step after the last checkpoint) is as if it were not there.
//
//   config.yaml         the resolved configuration
//   run.json            the ledger: stages, their state, their checkpoints
//   metrics.jsonl       one line a step
//   trajectories/       one <stage>.jsonl a stage
//   data/               what self-play collected
//   checkpoints/        <stage>-<step>/: Hugging Face files and trainer state
//   results.json, report.html
//   tensorboard/        event files, a folder a stage
//   trackers/           what each service has taken
//   lock.<n>            who works here

import { existsSync, lstatSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from "node:fs";
import { basename, join, resolve, sep } from "node:path";
import type { Json } from "../../envs/environment.ts";
import { type Config, configSchema } from "../config/schema.ts";
import { readYaml } from "../config/yaml.ts";
import { SpaError } from "../errors.ts";
import { partialSuffix, writeFileAtomically } from "../files/atomic-file.ts";
import type { FileDigest } from "../files/file-digest.ts";
import { fileError } from "../files/file-error.ts";
import { acquireLock } from "../files/lock.ts";
import { checkShape } from "../files/shape.ts";
import {
  type CheckpointRecord,
  isStageId,
  type Ledger,
  readLedger,
  type SessionRecord,
  type StageRecord,
  stageFileName,
  trainingFolders,
} from "./ledger.ts";
import { innerFolders, makeRunFolder } from "./make-run-folder.ts";
import { MetricsLog } from "./metrics.ts";
import { TrajectoryLog } from "./trajectory-log.ts";

export { type CheckpointRecord, type StageRecord, stageFileName } from "./ledger.ts";

/** What a finished stage reports beside its result. */
export interface StageOutcome {
  /** Working time, interruptions apart. */
  seconds: number;
  tokensSampled: number;
  tokensTrained: number;
  [result: string]: Json;
}

/** `20250131-142501`, local time: names sort as they were started. */
function timeStamp(now: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const date = `${now.getFullYear()}${two(now.getMonth() + 1)}${two(now.getDate())}`;
  return `${date}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`;
}

export class RunFolder {
  /** Absolute. */
  readonly path: string;
  readonly config: Config;
  readonly metrics: MetricsLog;
  #ledger: Ledger;
  #locked = false;
  #inSession = false;
  readonly #trajectories = new Map<string, TrajectoryLog>();

  private constructor(path: string, config: Config, ledger: Ledger) {
    this.path = resolve(path);
    this.config = config;
    this.#ledger = ledger;
    this.metrics = new MetricsLog(this.file("metrics.jsonl"));
  }

  /**
   * Starts a new run folder `<root>/<name>`, by default `runs/<preset>-<date>-<time>`.
   *
   * @throws SpaError `BAD_ARGUMENT` if `name` is given and taken, or no file name; `DISK_FULL`
   */
  static create(config: Config, options: { name?: string; root?: string } = {}): RunFolder {
    const root = options.root ?? "runs";
    const { name } = options;
    if (name !== undefined && (name === "" || name !== basename(name) || name.startsWith("."))) {
      throw new SpaError("BAD_ARGUMENT", `"${name}" cannot be the name of a run`, {
        hint: "a name is a folder's name without slashes, e.g. --name first-try",
      });
    }
    const now = new Date();
    const wanted = name ?? `${config.preset}-${timeStamp(now)}`;
    for (let count = 1; ; count++) {
      const path = join(root, count === 1 ? wanted : `${wanted}-${count}`);
      if (makeRunFolder(path, config, now)) return RunFolder.open(path);
      if (name !== undefined) {
        throw new SpaError("BAD_ARGUMENT", `${path} exists already`, {
          hint: `take another --name, or go on with that run: --resume ${path}`,
        });
      }
    }
  }

  /**
   * Opens a run folder to read it; {@link RunFolder.lock} it before anything is written.
   *
   * @throws SpaError `BAD_CHECKPOINT` if it is no run folder or damaged, `RUN_VERSION` if its format is another one,
   * `FILE_FAILED`
   */
  static open(path: string): RunFolder {
    if (basename(resolve(path)).endsWith(partialSuffix)) {
      throw new SpaError("BAD_CHECKPOINT", `${path} is unfinished: the process that made it was ended`, {
        hint: "start the run anew; unfinished folders are removed then",
      });
    }
    try {
      const ledger = readLedger(path);
      return new RunFolder(path, readConfig(join(path, "config.yaml")), ledger);
    } catch (error) {
      throw fileError(error);
    }
  }

  /** The run folder in `root` that was started last, or undefined where there is none. */
  static latest(root = "runs"): string | undefined {
    if (!existsSync(root)) return undefined;
    const started = readdirSync(root)
      .filter((name) => !name.endsWith(partialSuffix))
      .map((name) => join(root, name))
      .filter((path) => existsSync(join(path, "run.json")))
      .map((path) => ({ path, created: createdAt(path) }))
      .sort(
        (left, right) => left.created.localeCompare(right.created) || left.path.localeCompare(right.path),
      );
    return started.at(-1)?.path;
  }

  get name(): string {
    return basename(this.path);
  }

  /** When the run was started, as an ISO 8601 date and time. */
  get created(): string {
    return this.#ledger.created;
  }

  /** In the order in which they began. */
  get stages(): readonly StageRecord[] {
    return this.#ledger.stages;
  }

  /** All checkpoints in the order in which they were made. */
  get checkpoints(): readonly CheckpointRecord[] {
    return this.#ledger.checkpoints;
  }

  /** The processes that have worked here, in order. */
  get sessions(): readonly SessionRecord[] {
    return this.#ledger.sessions ?? [];
  }

  /**
   * Takes the folder for this process and clears away what a killed one left unfinished. Disposal gives it back.
   *
   * @throws SpaError `RUN_LOCKED`, which names the process and host that work in it; `BAD_CHECKPOINT` for links that lead out
   * of the folder
   */
  lock(): Disposable {
    const lock = acquireLock(this.path);
    this.#locked = true;
    try {
      refuseLinksOut(this.path);
      this.#ledger = readLedger(this.path);
      this.#clearLeftovers();
    } catch (error) {
      this.#locked = false;
      lock[Symbol.dispose]();
      throw fileError(error);
    }
    return {
      [Symbol.dispose]: () => {
        this.#locked = false;
        this.#inSession = false;
        try {
          this.metrics.close();
          for (const log of this.#trajectories.values()) log.close();
        } finally {
          lock[Symbol.dispose]();
        }
      },
    };
  }

  /** Enters this process among those that have worked here. */
  beginSession(about: Pick<SessionRecord, "package" | "commit" | "machine">): void {
    const now = new Date().toISOString();
    const sessions = [...this.sessions, { began: now, ended: now, ...about }];
    this.#writeLedger({ ...this.#ledger, sessions });
    this.#inSession = true;
  }

  /** Notes when this process was last seen at work. */
  endSession(): void {
    this.#writeLedger(this.#ledger);
  }

  stage(id: string): StageRecord | undefined {
    return this.#ledger.stages.find((stage) => stage.id === id);
  }

  /** Enters the stage as running. A stage that is running already stays as it is: it is being resumed. */
  beginStage(id: string): StageRecord {
    if (!isStageId(id)) {
      throw new SpaError("BAD_ARGUMENT", `"${id}" cannot be the id of a stage`, {
        hint: "an id is words joined by slashes, such as spa/ppo",
      });
    }
    const known = this.stage(id);
    if (!this.checkpoints.some((checkpoint) => checkpoint.stage === id) && known?.state !== "done") {
      this.rewindStage(id, -1);
    }
    if (known) return known;
    const stage: StageRecord = { id, state: "running", seconds: 0, tokensSampled: 0, tokensTrained: 0 };
    this.#writeLedger({ ...this.#ledger, stages: [...this.#ledger.stages, stage] });
    return stage;
  }

  /**
   * Enters the stage as done. What `outcome` holds beside the counts becomes the record's `result`.
   *
   * @param files what the stage leaves, by path within the run folder
   */
  completeStage(id: string, outcome: StageOutcome, files?: { [name: string]: FileDigest }): StageRecord {
    const known = this.stage(id);
    if (!known) throw new SpaError("INTERNAL", `stage ${id} ends without having begun`);
    const { seconds, tokensSampled, tokensTrained, ...result } = outcome;
    const counts = { seconds, tokensSampled, tokensTrained };
    const stage: StageRecord = { ...known, state: "done", ...counts, result, ...(files && { files }) };
    this.sync();
    this.#writeLedger({
      ...this.#ledger,
      stages: this.#ledger.stages.map((other) => (other.id === id ? stage : other)),
    });
    return stage;
  }

  /** Enters a stage, which has not begun, as one that is not done: its arm ends before it, for this reason. */
  skipStage(id: string, reason: string): void {
    const counts = { seconds: 0, tokensSampled: 0, tokensTrained: 0 };
    const stage: StageRecord = { id, state: "skipped", reason, ...counts };
    this.#writeLedger({ ...this.#ledger, stages: [...this.#ledger.stages, stage] });
  }

  /** The arms that have ended before their training was done, and why. */
  get untrained(): { [arm: string]: string } {
    const skipped = this.stages.filter(({ state }) => state === "skipped");
    return Object.fromEntries(skipped.map(({ id, reason = "" }) => [id.split("/")[0], reason]));
  }

  /** Drops what a stage logged after `step` (-1: everything), to go on from there. */
  rewindStage(id: string, step: number): void {
    this.metrics.truncateAfter(id, step);
    this.trajectories(id).truncateAfter(step);
  }

  /** Forgets a stage with its checkpoints and logs, to do it again. */
  forgetStage(id: string): void {
    this.#writeLedger({
      ...this.#ledger,
      stages: this.#ledger.stages.filter((stage) => stage.id !== id),
      checkpoints: this.#ledger.checkpoints.filter((checkpoint) => checkpoint.stage !== id),
    });
    this.rewindStage(id, -1);
    this.#clearLeftovers([stageFileName(id)]);
  }

  /** Enters checkpoints into the ledger, in place of all that it had of this stage. For lib/run/checkpoint. */
  setCheckpoints(stage: string, records: readonly CheckpointRecord[]): void {
    const others = this.#ledger.checkpoints.filter((checkpoint) => checkpoint.stage !== stage);
    const newest = records.at(-1);
    const stages = this.#ledger.stages.map((known) =>
      known.id === stage && newest ? { ...known, checkpoint: join("checkpoints", newest.name) } : known,
    );
    this.#writeLedger({ ...this.#ledger, stages, checkpoints: [...others, ...records] });
  }

  trajectories(stageId: string): TrajectoryLog {
    let log = this.#trajectories.get(stageId);
    if (!log) {
      log = new TrajectoryLog(this.file("trajectories", `${stageFileName(stageId)}.jsonl`));
      this.#trajectories.set(stageId, log);
    }
    return log;
  }

  /** Stages that have trajectories, in the order in which the stages began. */
  stagesWithTrajectories(): string[] {
    return this.stages.map((stage) => stage.id).filter((id) => existsSync(this.trajectories(id).path));
  }

  /** The path of a file or folder in the run folder. */
  file(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  writeResults(results: Json): void {
    writeFileAtomically(this.file("results.json"), `${JSON.stringify(results, null, 2)}\n`);
  }

  /** Brings the logs to disk: a checkpoint must not be newer than they are. */
  sync(): void {
    this.metrics.sync();
    for (const log of this.#trajectories.values()) log.sync();
  }

  #writeLedger(ledger: Ledger): void {
    if (!this.#locked) throw new SpaError("INTERNAL", `${this.path} is written to without lock()`);
    const written = this.#inSession ? withSessionEnd(ledger) : ledger;
    writeFileAtomically(this.file("run.json"), `${JSON.stringify(written, null, 2)}\n`);
    this.#ledger = written;
  }

  /**
   * Removes unfinished files, cuts torn log lines, and brings checkpoints/ to what the ledger says: checkpoints of
   * known stages (and of `stages`) that it does not name go, and the training state of those that have lost it.
   */
  #clearLeftovers(stages: string[] = []): void {
    this.metrics.repair();
    const digested = new Set(this.#ledger.stages.flatMap(({ files = {} }) => Object.keys(files)));
    for (const name of readdirSync(this.file("trajectories"))) {
      // What looks torn in a finished stage's log is damage, which cutting would hide.
      if (name.endsWith(".jsonl") && !digested.has(join("trajectories", name)))
        new TrajectoryLog(this.file("trajectories", name)).repair();
    }
    for (const folder of [".", ...innerFolders]) {
      for (const name of readdirSync(this.file(folder))) {
        if (name.endsWith(partialSuffix)) rmSync(this.file(folder, name), { recursive: true, force: true });
      }
    }
    for (const checkpoint of this.#ledger.checkpoints.filter((record) => !record.training)) {
      for (const name of trainingFolders) {
        rmSync(this.file("checkpoints", checkpoint.name, name), { recursive: true, force: true });
      }
    }
    const named = new Set(this.#ledger.checkpoints.map((checkpoint) => checkpoint.name));
    const known = new Set([...stages, ...this.#ledger.stages.map((stage) => stageFileName(stage.id))]);
    for (const name of readdirSync(this.file("checkpoints"))) {
      const stage = /^(.+)-\d+$/.exec(name)?.[1];
      if (stage !== undefined && known.has(stage) && !named.has(name)) {
        rmSync(this.file("checkpoints", name), { recursive: true, force: true });
      }
    }
  }
}

/** The session under way has lasted until now. */
function withSessionEnd({ sessions = [], ...ledger }: Ledger): Ledger {
  const last = { ...sessions[sessions.length - 1], ended: new Date().toISOString() };
  return { ...ledger, sessions: [...sessions.slice(0, -1), last] };
}

/** @throws SpaError `BAD_CHECKPOINT` */
function readConfig(file: string): Config {
  let content: unknown;
  try {
    content = existsSync(file) ? readYaml(readFileSync(file, "utf8")).content : undefined;
  } catch (error) {
    const known = fileError(error);
    if (known instanceof SpaError) throw known;
    throw new SpaError("BAD_CHECKPOINT", `${file} is no YAML: ${(error as Error).message}`, { cause: error });
  }
  const hint = "config.yaml was written when the run began; undo what was changed in it since";
  return checkShape(configSchema, content, { file, hint });
}

/** Through a link the run would cut and remove what is not its own. */
function refuseLinksOut(path: string): void {
  const root = realpathSync(path);
  const folders = [...innerFolders, "tensorboard", "trackers"];
  const inner = folders.flatMap((folder) =>
    existsSync(join(path, folder)) ? readdirSync(join(path, folder)).map((name) => join(folder, name)) : [],
  );
  for (const name of ["metrics.jsonl", ...folders, ...inner]) {
    const entry = join(path, name);
    if (!lstatSync(entry, { throwIfNoEntry: false })?.isSymbolicLink()) continue;
    const target = existsSync(entry) ? realpathSync(entry) : undefined;
    if (target?.startsWith(root + sep)) continue;
    const stat = target === undefined ? undefined : statSync(target);
    if (stat && !stat.isFile() && !stat.isDirectory()) continue;
    throw new SpaError("BAD_CHECKPOINT", `${entry} is a link that leads out of the run folder`, {
      hint: "put the file or folder itself there; a run folder may be linked to as a whole",
    });
  }
}

/** Folders whose ledger cannot be read sort first: they are not what a user means by "the last run". */
function createdAt(path: string): string {
  try {
    const { created } = JSON.parse(readFileSync(join(path, "run.json"), "utf8")) as { created?: unknown };
    return typeof created === "string" ? created : "";
  } catch {
    return "";
  }
}
