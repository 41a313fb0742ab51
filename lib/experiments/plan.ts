import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { checkConfig, loadConfig } from "../config/load.ts";
import { withAbsolutePaths } from "../config/paths.ts";
import { type ArmName, type Config, configSchema } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import { didYouMean } from "../nearest-name.ts";
import { worldModelStage } from "../stages/schedule.ts";
import type { Arm, Experiment } from "./experiment.ts";

/** A run that an experiment needs. Runs that come to the same are one, whatever arms and experiments they serve. */
export interface PlannedRun {
  /** Name of its folder: what it trains, its seed, and a digest of all its settings and of the runs that it starts from. */
  name: string;
  /** The run folder. Absolute. */
  folder: string;
  seed: number;
  /** The configuration; that of a run which starts from another names that run's folder. */
  config: Config;
  /** The model that its tokens and memory are estimated for: its own, or the one that the first of its chain trained. */
  shape: Config["model"];
  /** The run that it starts from; undefined where it needs none. */
  after: PlannedRun | undefined;
  kind: RunKind;
}

/** An arm with its runs, one a seed. */
export interface PlannedArm {
  arm: Arm;
  /** What it ends with. */
  runs: PlannedRun[];
  /** Where the model is evaluated that it starts from, and random play. */
  bases: PlannedRun[];
}

/** Everything that an experiment trains. */
export interface ExperimentPlan {
  experiment: Experiment;
  /** Preset or file, and settings over it, as they were asked for. */
  source: string;
  settings: readonly string[];
  seeds: readonly number[];
  arms: PlannedArm[];
  /** Every run once, each after the one that it starts from. */
  runs: PlannedRun[];
}

/** What {@link planExperiment} is asked for. */
export interface ExperimentRequest {
  experiment: Experiment;
  /** Preset or file; by default the experiment's preset. */
  source?: string | undefined;
  /** `key=value` over everything else. */
  settings?: readonly string[];
  /** By default from 1 on, as many as the experiment asks for. */
  seeds?: readonly number[] | undefined;
  /** Names of arms; by default all. What they start from is planned with them. */
  arms?: readonly string[] | undefined;
  /** Folder of the runs. */
  runs: string;
}

/**
 * Lays out an experiment: arms by seeds over the runs that they share. Makes nothing.
 *
 * @throws SpaError BAD_CONFIG, UNKNOWN_NAME (preset, arm)
 */
export function planExperiment(request: ExperimentRequest): ExperimentPlan {
  const { experiment, settings = [] } = request;
  const source = request.source ?? experiment.preset;
  const seeds = request.seeds ?? Array.from({ length: experiment.seeds }, (_, index) => index + 1);
  refuseOwn(settings);
  const given = loadConfig(source, settings);
  checkEnvironment(experiment, given);
  const shared = commonSettings(given);
  const common = [...shared, ...(experiment.settings?.(given) ?? []), ...settings];
  const config = loadConfig(source, common);
  const planner = new Planner(request.runs, source, common, loadConfig(source, shared));
  const all = experiment.arms(config);
  const arms = chosenArms(all, request.arms).map((arm): PlannedArm => {
    const planned = seeds.map((seed) => planner.plan(arm, all, seed));
    return { arm, runs: planned.map(({ run }) => run), bases: planned.map(({ base }) => base) };
  });
  // Seed by seed: once the first is done, all arms can be compared.
  const runs = seeds.flatMap((seed) => planner.runs.filter((run) => run.seed === seed));
  return { experiment, source, settings, seeds, arms, runs };
}

/**
 * What all experiments share. Figures are to be compared: 512 levels halve the width of the intervals of 128. A nano model runs on one
 * thread, so that its numbers do not depend on how many runs stand side by side, and as many as there are cores is faster
 * than one on all of them.
 */
function commonSettings({ model, protocol }: Config): string[] {
  const nano = ["engine.threads=1", "base.promptStates=[grid,structured]"];
  return ["levels.testLevels=512", ...(model.kind === "nano" && protocol.style === "nano" ? nano : [])];
}

/** @throws SpaError BAD_CONFIG for settings that are the experiment's to choose */
function refuseOwn(settings: readonly string[]): void {
  const own = settings.find((text) => /^(seed|arms|model\.kind|start|evaluation\.references)=/.test(text));
  if (own === undefined) return;
  throw new SpaError("BAD_CONFIG", `${own}: an experiment sets this itself, run by run`, {
    hint: "--seeds chooses seeds and --arms arms; a model is named by its preset, or by model=<Hub id or folder>",
  });
}

/** @throws SpaError BAD_CONFIG */
function checkEnvironment({ name, environment, preset }: Experiment, config: Config): void {
  if (environment === undefined || environment === config.environment.name) return;
  throw new SpaError(
    "BAD_CONFIG",
    `experiment ${name} is about ${environment}, but the environment is ${config.environment.name}`,
    { hint: `take a preset of that environment, such as ${preset}` },
  );
}

function chosenArms(arms: readonly Arm[], names: readonly string[] | undefined): readonly Arm[] {
  const known = arms.map(({ name }) => name);
  const unknown = names?.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new SpaError("UNKNOWN_NAME", `there is no arm "${unknown}"${didYouMean(unknown, known)}`, {
      hint: `arms: ${known.join(", ")}`,
    });
  }
  return names === undefined ? arms : arms.filter(({ name }) => names.includes(name));
}

/** What a run of a plan trains. */
type RunKind = "base" | Exclude<ArmName, "spa">;

/** Sections that only some kinds read. In the others they stand as in the preset, so that those can be shared. */
const readBy: Readonly<Record<"selfPlay" | "sft" | "ppo" | "control", readonly RunKind[]>> = {
  selfPlay: ["world-model"],
  sft: ["world-model"],
  ppo: ["control", "format-only"],
  control: ["control"],
};

/**
 * Settings that are not the schema's defaults, by their dotted names: what tells configurations apart, also when a later
 * version of the package has settings more.
 */
export function chosenSettings(config: Config): { [name: string]: unknown } {
  const defaults = flattened(configSchema.parse({}));
  const own = [...flattened(config)].filter(([name, value]) => !isDeepStrictEqual(value, defaults.get(name)));
  return Object.fromEntries(own);
}

function flattened(value: unknown, name = ""): Map<string, unknown> {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return new Map([[name, value]]);
  const entries = Object.entries(value).flatMap(([key, inner]) => [
    ...flattened(inner, name === "" ? key : `${name}.${key}`),
  ]);
  return new Map(entries);
}

/** A run, and the stage of it that another starts from. */
interface Start {
  run: PlannedRun;
  stage: string;
}

/** Makes the runs of arms, each once. */
class Planner {
  readonly runs: PlannedRun[] = [];
  readonly #folder: string;
  readonly #source: string;
  readonly #common: readonly string[];
  readonly #preset: Config;

  constructor(folder: string, source: string, common: readonly string[], preset: Config) {
    this.#folder = folder;
    this.#source = source;
    this.#common = common;
    this.#preset = preset;
  }

  /** The run that an arm ends with, and that of its base; those between are made too. */
  plan(arm: Arm, arms: readonly Arm[], seed: number): { run: PlannedRun; base: PlannedRun } {
    const { trains, settings = [] } = arm;
    const { base, start } = this.#startOf(arm, arms, seed);
    if (trains === null) return { base, run: base };
    const trained = (kind: RunKind, own: readonly string[] | undefined, from: Start | undefined) => {
      const all = ["evaluation.references=[]", ...settings, ...(own ?? [])];
      return this.#add(kind, this.#load(kind, arm, all, seed), from);
    };
    if (trains !== "spa") return { base, run: trained(trains, arm.ppo, start) };
    const worldModel = trained("world-model", arm.worldModel, start);
    const stage = worldModelStage(worldModel.config);
    return { base, run: trained("format-only", arm.ppo, { run: worldModel, stage }) };
  }

  /** Where an arm starts: at a stage of another, or at the base. A pretrained model is its own base, and no run. */
  #startOf(arm: Arm, arms: readonly Arm[], seed: number): { base: PlannedRun; start: Start | undefined } {
    const { from } = arm;
    if (from === undefined) {
      const base = this.#add("base", this.#load("base", arm, [], seed));
      return { base, start: base.config.model.kind === "nano" ? { run: base, stage: "base" } : undefined };
    }
    const source = arms.find(({ name }) => name === from.arm);
    if (!source) throw new SpaError("INTERNAL", `${arm.name} starts from no arm: ${from.arm}`);
    const { run, base } = this.plan(source, arms, seed);
    return { base, start: { run, stage: from.stage } };
  }

  #load(kind: RunKind, { base = [] }: Arm, own: readonly string[], seed: number): Config {
    const trains = `arms=[${kind === "base" ? "" : kind}]`;
    const settings = [...this.#common, trains, ...base, ...own, `seed=${seed}`];
    return withAbsolutePaths(loadConfig(this.#source, settings));
  }

  #add(kind: RunKind, loaded: Config, start?: Start): PlannedRun {
    const unread = Object.entries(readBy).filter(([, kinds]) => !kinds.includes(kind));
    const sections = unread.map(([name]) => [name, this.#preset[name as keyof typeof readBy]]);
    const config: Config = { ...loaded, ...Object.fromEntries(sections) };
    const { run: after, stage = "base" } = start ?? {};
    const identity = JSON.stringify([chosenSettings(config), after && { run: after.name, stage }]);
    const digest = createHash("sha256").update(identity).digest("hex");
    const name = `${config.preset}-${config.seed}-${kind}-${digest.slice(0, 8)}`;
    const known = this.runs.find((run) => run.name === name);
    if (known) return known;
    const model = after && { kind: "stage" as const, run: after.folder, stage, digest: null };
    const run: PlannedRun = {
      name,
      folder: resolve(join(this.#folder, name)),
      seed: config.seed,
      kind,
      config: model ? checkConfig({ ...config, model }) : config,
      shape: config.model,
      after,
    };
    this.runs.push(run);
    return run;
  }
}
