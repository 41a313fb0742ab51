import { resolve } from "node:path";
import type { Environment, Json } from "../envs/environment.ts";
import { shownError } from "../envs/foreign-value.ts";
import { guard } from "../envs/guard.ts";
import { createEnvironment, loadEnvironmentModule } from "../envs/index.ts";
import { addonInfo } from "./addon/loader.ts";
import "./remote/openenv-environment.ts";
import { checkConfig } from "./config/load.ts";
import type { Config } from "./config/schema.ts";
import { Engine } from "./engine/engine.ts";
import { firstFailure, heedSignal, SpaError } from "./errors.ts";
import { fileError } from "./files/file-error.ts";
import { checkShape } from "./files/shape.ts";
import { plannedDevice } from "./memory/plan.ts";
import { type ResolvedConfig, resolveMemory } from "./memory/resolve.ts";
import { isMeasured, warmUp } from "./memory/warm-up.ts";
import { runningReport } from "./report/running-report.ts";
import { writeReport } from "./report/write-report.ts";
import { EnvironmentPool } from "./rollout/environment-pool.ts";
import { type Level, scarceDistances } from "./rollout/levels.ts";
import { describeLevels, type LevelFigures, levelFigures } from "./run/level-figures.ts";
import type { MetricsRow } from "./run/metrics.ts";
import { createProgress, type Progress } from "./run/progress.ts";
import { dataResultSchema, evaluationResultSchema, type Results } from "./run/results.ts";
import { RunFolder } from "./run/run-folder.ts";
import { observeAll } from "./run/run-observer.ts";
import { describeSession } from "./run/session.ts";
import { checkStageFiles } from "./run/stage-files.ts";
import { requireTrusted, trustEnvironment } from "./run/trust.ts";
import { createStageContext, openEnvironments, type StageContext } from "./stages/context.ts";
import { estimateRun, type RunEstimate } from "./stages/estimate.ts";
import { evaluationPrefix, evaluationStage } from "./stages/evaluate/evaluate.ts";
import { modelForEstimates } from "./stages/model-shape.ts";
import { preflight } from "./stages/preflight.ts";
import { type PreparedModel, prepareModel } from "./stages/prepare-model.ts";
import { configuredExamples, type ScheduledStage, scheduleStages } from "./stages/schedule.ts";
import { readSftRows } from "./stages/sft/files.ts";
import { describeStart } from "./stages/source-stage.ts";
import { checkLevels, sharedSeeds } from "./stages/training-levels.ts";
import { openTrackers } from "./trackers/open-trackers.ts";

/** What a run is given beside its configuration. */
export interface RunOptions {
  /** Ends the run after the step under way, which is saved; while the run is set up, at once. */
  signal?: AbortSignal;
  /** Silent by default. */
  progress?: Progress;
  /** Is given each row of metrics.jsonl once it is written; what it throws ends the run. */
  onStep?: (row: MetricsRow) => void;
  /** Makes the environments; by default those that the configuration names. */
  createEnvironment?: () => Environment;
  /** Executes the module of the run's environment, though this user may never have named it. */
  trust?: boolean;
}

/** Where a new run is put. */
export interface NewRunOptions extends RunOptions {
  /** By default preset, date and time. */
  name?: string;
  /** The folder of run folders, by default runs. */
  root?: string;
}

/** A finished run. */
export interface RunOutcome {
  /** The run folder. */
  folder: string;
  results: Results;
}

/**
 * Trains all arms of a configuration in a new run folder: base -> self-play -> SFT -> PPO, and PPO from the same base
 * with the plain prompt; then evaluates every policy on the test levels and writes results.json. A model from the Hub is
 * fetched before there is a run folder, which keeps its commit. With a budget (`engine.memory`) the run's memory is planned
 * first; the folder keeps what was chosen.
 *
 * @throws SpaError ABORTED, NOT_FINITE, DISK_FULL, FILE_FAILED, BAD_CONFIG, HUB_NOT_FOUND, OUT_OF_MEMORY (the budget is too
 * small), …; its `folder` is that of the run, once there is one: {@link resume} goes on with it
 */
export async function train(config: Config, options: NewRunOptions = {}): Promise<RunOutcome> {
  const run = await createRun(config, options);
  return resume(run.path, options);
}

/**
 * Makes a run folder, after what can be done and checked before there is one: that a file of SFT data is one, its rows fit
 * and hold something to train on, that the environment has the levels that the stages will draw, that the engine starts on
 * the device asked for, that a pretrained model is there whole, fetched if need be, that the environment is what it should be
 * and its prompts and states fit the context ({@link preflight}), and that the run fits its memory.
 *
 * @throws SpaError ABORTED (no folder is made), ADDON_MISSING, CAPACITY, BAD_ARGUMENT, BAD_CONFIG, BAD_ENVIRONMENT, BAD_CHECKPOINT,
 * UNSUPPORTED, BAD_TOKENIZER, HUB_NOT_FOUND, OUT_OF_MEMORY, …
 */
export async function createRun(config: Config, options: NewRunOptions = {}): Promise<RunFolder> {
  try {
    return await prepareRun(checkConfig(config), options);
  } catch (error) {
    throw fileError(firstFailure(error));
  }
}

async function prepareRun(config: Config, { name, root, ...options }: NewRunOptions): Promise<RunFolder> {
  const { data } = config.sft;
  const { signal, progress } = options;
  trustEnvironment(config.environment);
  await heedSignal(signal);
  if (data !== null) await readSftRows(data, signal);
  await heedSignal(signal);
  await checkConfiguredLevels(config, options);
  await (await openEngine(config)).dispose();
  const prepared = await prepareModel(config, options);
  const { tokenizer } = prepared;
  await heedSignal(signal);
  if (data !== null) await configuredExamples(config, tokenizer, signal);
  const createEnvironment = options.createEnvironment ?? (await environmentFactory(config));
  for (const note of await preflight({ config, tokenizer, createEnvironment, signal })) progress?.note(note);
  const resolved = await resolveOrMeasure(prepared, options);
  await heedSignal(signal);
  return RunFolder.create(resolved, {
    ...(name !== undefined && { name }),
    ...(root !== undefined && { root }),
  });
}

/**
 * Goes on with a run folder: skips the stages that are done, and continues the one that was interrupted from its newest
 * checkpoint, to the same numbers as without the interruption.
 *
 * @throws SpaError RUN_LOCKED, RUN_VERSION, BAD_CHECKPOINT, and those of {@link train}
 */
export async function resume(folder: string, options: RunOptions = {}): Promise<RunOutcome> {
  return withRun(folder, options, async (context) => {
    for (const stage of scheduleStages(context.config)) await runStage(context, stage);
    return { folder: context.run.path, results: writeResults(context) };
  });
}

/**
 * Does one planned stage, unless its arm has ended before it. One that is done must have left what it says.
 *
 * @throws SpaError BAD_CHECKPOINT
 */
export async function runStage(context: StageContext, stage: ScheduledStage): Promise<void> {
  const { run, progress } = context;
  const { state, reason } = run.stage(stage.id) ?? {};
  if (state === "done") return checkStageFiles(run, stage.id);
  if (state === "skipped") return progress.note(`${stage.id} has been skipped: ${reason}`);
  if (!isAhead(run, stage)) return;
  await heedSignal(context.signal);
  await stage.run(context);
  writeResults(context);
}

/** Whether a stage is still to be done: it is not over, and its arm has not ended before it. */
export function isAhead(run: RunFolder, { id, arm }: ScheduledStage): boolean {
  return run.stage(id)?.state !== "done" && (arm === undefined || run.untrained[arm] === undefined);
}

/**
 * Opens a run folder with everything that stages need, and closes it again whatever happens.
 *
 * @throws SpaError ABORTED, RUN_LOCKED, RUN_VERSION, BAD_CHECKPOINT, UNTRUSTED or UNKNOWN_NAME (environment), ADDON_MISSING;
 * its `folder` is the run's
 */
export async function withRun<T>(
  folder: string,
  options: RunOptions,
  work: (context: StageContext) => Promise<T>,
): Promise<T> {
  const run = RunFolder.open(folder);
  try {
    if (!options.trust && !options.createEnvironment) requireTrusted(run.config.environment, run.path);
    using _lock = run.lock();
    return await reporting(run, () => workIn(run, options, work));
  } catch (thrown) {
    const error = fileError(firstFailure(thrown));
    if (error instanceof SpaError) error.folder ??= run.path;
    throw error;
  }
}

/** Writes the report at the end of work, whatever end it is; the first failure is the one to tell. */
async function reporting<T>(run: RunFolder, work: () => Promise<T>): Promise<T> {
  let outcome: T;
  try {
    outcome = await work();
  } catch (error) {
    try {
      finishSession(run);
    } catch {
      // What ended the work may hold for the report, too: a full disk.
    }
    throw error;
  }
  finishSession(run);
  return outcome;
}

function finishSession(run: RunFolder): void {
  if (run.sessions.length > 0) run.endSession();
  writeReport(run);
}

async function workIn<T>(
  run: RunFolder,
  options: RunOptions,
  work: (context: StageContext) => Promise<T>,
): Promise<T> {
  const { signal } = options;
  const progress = options.progress ?? createProgress({ mode: "quiet", stream: process.stderr });
  await heedSignal(signal);
  const prepared = await prepareModel(run.config, { ...options, progress });
  const { folder: pretrainedFolder, tokenizer } = prepared;
  const config = resolveMemory(run.config, prepared.shape);
  await heedSignal(signal);
  const createEnvironment = options.createEnvironment ?? (await environmentFactory(config));
  // A folder may come from elsewhere than createRun.
  await using engine = await openEngine(config);
  run.beginSession(describeSession(engine.device === "cuda" ? addonInfo().devices : []));
  const trackers = openTrackers(run, progress);
  const program = options.onStep ? [{ logs: options.onStep }] : [];
  const observer = observeAll([...program, ...trackers, runningReport(run, progress)]);
  const parts = {
    run,
    config,
    engine,
    tokenizer,
    pretrainedFolder,
    createEnvironment,
    progress,
    observer,
    signal,
  };
  const context = await createStageContext(parts);
  const { environments } = context;
  try {
    const ahead = scheduleStages(config).filter((stage) => isAhead(run, stage));
    const drawing = environments.acquire();
    await checkLevels(config, ahead, drawing, { excluded: context.split.held, signal });
    environments.release(drawing);
    for (const split of ["test", "tuning"] as const)
      progress.note(`${split} levels: ${describeLevels(figuresOf(context.split[split]))}`);
    const scarce = config.levels.testDistances === "even" ? scarceDistances(context.split.test) : [];
    if (scarce.length > 0)
      progress.note(
        `warning: test levels are not even over distances (levels.testDistances): there were too few of ${scarce.join(", ")}`,
      );
    for (const shared of sharedSeeds(config, ahead)) progress.note(`warning: ${shared}`);
    const start = describeStart(config);
    if (start !== undefined) progress.note(`every arm ${start}`);
    await heedSignal(signal);
    return await work(context);
  } finally {
    for (const tracker of trackers) await tracker.close();
    for (const problem of await environments.close()) progress.note(`warning: ${shownError(problem)}`);
  }
}

/** What stages read, without a run folder to write into. */
export type ReadingContext = Omit<StageContext, "run" | "progress" | "observer">;

/**
 * Opens what a configuration's stages read, and closes it again: for work that leaves nothing behind, beside a run that may be
 * under way.
 *
 * @throws SpaError as {@link withRun}, but for the run folder's own
 */
export async function withoutRun<T>(
  given: Config,
  options: RunOptions,
  work: (context: ReadingContext) => Promise<T>,
): Promise<T> {
  const { signal } = options;
  const { folder: pretrainedFolder, tokenizer, shape } = await prepareModel(given, options);
  const config = resolveMemory(given, shape);
  const createEnvironment = options.createEnvironment ?? (await environmentFactory(config));
  await using engine = await openEngine(config);
  const opened = await openEnvironments({ config, signal }, createEnvironment);
  try {
    return await work({ config, engine, tokenizer, pretrainedFolder, signal, ...opened });
  } finally {
    await opened.environments.close();
  }
}

/** What is known of a run's levels without drawing all of them. */
async function checkConfiguredLevels(config: Config, options: RunOptions): Promise<void> {
  const create = options.createEnvironment ?? (await environmentFactory(config));
  await using environments = new EnvironmentPool(create, { timeout: config.environment.timeout });
  await checkLevels(config, scheduleStages(config), environments.acquire(), { signal: options.signal });
}

/** A run's settings of memory; where its passes are measured first, those that are left after that. */
async function resolveOrMeasure(
  { config, shape, folder }: PreparedModel,
  { signal, progress }: RunOptions,
): Promise<ResolvedConfig> {
  if (!isMeasured(config, plannedDevice(config))) return resolveMemory(config, shape);
  const { dtype } = config.engine;
  // What passes the budget is to be seen, not refused.
  await using engine = await openEngine({ ...config, engine: { ...config.engine, memory: null } });
  const createModel = () =>
    folder === null ? engine.createModel(shape, { dtype }) : engine.loadModel(folder, { dtype, signal });
  return await warmUp(config, { engine, shape, createModel }, (text) => progress?.note(text));
}

/** The engine that a configuration asks for. */
export function openEngine({ engine, seed }: { engine: EngineSettings; seed: number }): Promise<Engine> {
  const { device, threads, memory } = engine;
  return Engine.create({
    device,
    seed,
    ...(threads !== null && { threads }),
    ...(memory !== null && { memoryLimit: memory }),
  });
}

type EngineSettings = Pick<Config["engine"], "device" | "threads" | "memory">;

/**
 * What a run would take, for `--dry-run`. Needs no engine.
 *
 * @throws SpaError BAD_ARGUMENT, BAD_CONFIG (also where the environment lacks levels), …
 */
export async function estimate(given: Config): Promise<RunEstimate> {
  const config = checkConfig(given);
  await checkConfiguredLevels(config, {});
  return estimateRun(config, await modelForEstimates(config), await environmentFactory(config));
}

/** Makes environments of the configured kind; a module of the user's own is loaded first. */
export async function environmentFactory(config: Config): Promise<() => Environment> {
  const { name, options, module, timeout } = config.environment;
  if (module !== null) {
    await loadEnvironmentModule(resolve(module));
    trustEnvironment(config.environment);
  }
  return () => guard(createEnvironment(name, options), { timeout });
}

function figuresOf(levels: readonly Level[]): LevelFigures {
  return levelFigures(levels.map(({ distance }) => distance));
}

/** Gathers what the ledger has into results.json: the evaluations on the levels that the run is configured for. */
export function writeResults({ run, split: drawn }: Pick<StageContext, "run" | "split">): Results {
  const evaluations: Results["evaluations"] = {};
  const { split } = run.config.evaluation;
  let seen: Set<number> | undefined;
  for (const { id, state, result } of run.stages) {
    if (state !== "done") continue;
    const redo = id.startsWith(evaluationPrefix)
      ? "spa eval --again evaluates anew"
      : `--redo ${id} does it again`;
    const source = {
      file: `${run.file("run.json")}, stage ${id}`,
      hint: `the file was damaged or edited; ${redo}`,
    };
    if (!id.startsWith(evaluationPrefix)) {
      const { heldStarts } = checkShape(dataResultSchema, result ?? {}, source);
      if (heldStarts !== undefined) seen = new Set([...(seen ?? []), ...heldStarts]);
      continue;
    }
    const { policy, evaluation } = checkShape(evaluationResultSchema, result, source);
    if (id === evaluationStage(policy, split)) evaluations[policy] = evaluation;
  }
  const stages = run.stages
    .filter(({ state }) => state !== "skipped")
    .map(({ id, seconds, tokensSampled, tokensTrained }) => ({
      name: id,
      seconds,
      tokensSampled,
      tokensTrained,
    }));
  const { preset, seed } = run.config;
  const test = { ...figuresOf(drawn.test), ...(seen && { seenInTraining: seen.size }) };
  const levels = { test, tuning: figuresOf(drawn.tuning) };
  const { untrained } = run;
  const isWhole = Object.keys(untrained).length === 0;
  const results = { preset, seed, levels, evaluations, ...(!isWhole && { untrained }), stages };
  run.writeResults(results as unknown as Json);
  return results;
}
