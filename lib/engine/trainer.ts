import type {
  Moments,
  NativeOptimizerOptions,
  NativeStep,
  NativeTrainer,
  NativeTrainerOptions,
} from "../addon/addon.ts";
import {
  badArgument,
  checkBoolean,
  checkInteger,
  checkNumber,
  checkObject,
  checkOneOf,
  checkText,
  show,
} from "../addon/arguments.ts";
import { readTrainerState, type StateTensors, writeTrainerState } from "../formats/trainer-state.ts";
import { type StepMetrics, stepMetricEntries } from "../metrics/step-metrics.ts";
import { type LongCall, locate, longCallKeys } from "./call.ts";
import { Handle } from "./handle.ts";
import { checkSameEngine, Model } from "./model.ts";
import { checkLoss, checkTrainBatch, type Loss, type TrainBatch } from "./train-batch.ts";

/** AdamW (Loshchilov & Hutter 2019), with decoupled weight decay on all parameters. */
export interface OptimizerOptions {
  /** Peak learning rate; 1e-3 by default. */
  learningRate?: number;
  /** 0.9 and 0.999 by default. */
  betas?: readonly [number, number];
  /** 0.01 by default. */
  weightDecay?: number;
  /** 1e-8 by default. */
  epsilon?: number;
}

export interface ScheduleOptions {
  kind: "constant" | "linear" | "cosine";
  /** Updates over which the learning rate rises to its peak. */
  warmupSteps?: number;
  /** Linear and cosine: the update at which the minimum is reached. */
  totalSteps?: number;
  /** Linear and cosine: the share of the peak that is left at the end. */
  minimumRatio?: number;
}

export interface TrainerOptions {
  optimizer?: OptimizerOptions;
  /** Largest global norm of the gradient, of model and critic each; null: no clipping. 1 by default. */
  gradientClip?: number | null;
  /** Of both learning rates; constant by default. */
  schedule?: ScheduleOptions;
  /** A model with a value head, `"shared"` for the value head of the model itself, or null (the default). */
  critic?: Model | "shared" | null;
  /** By default as `optimizer`. */
  criticOptimizer?: OptimizerOptions;
  /** Tokens that go through the model at once: bounds memory, changes no result beyond rounding. 8192 by default. */
  microBatchTokens?: number;
  /** Seed of adapters' dropout, which depends on it and on the number of the update; by default the engine's. */
  seed?: number;
  /**
   * Keeps only the inputs of layers for the backward pass and computes the rest again: the same numbers, in less memory
   * and about a third more time. False by default.
   */
  activationCheckpointing?: boolean;
  /**
   * How AdamW's moments are stored. `"int8"`: in a quarter of the memory, quantised block by block (Dettmers et al. 2022,
   * arXiv 2110.02861). `"float32"` by default.
   */
  moments?: Moments;
}

/** A trainer of `model`, see {@link Trainer}. @throws SpaError `BAD_ARGUMENT`, `DISPOSED`. */
export function createTrainer(model: Model, options: TrainerOptions = {}): Trainer {
  return new Trainer(model, options);
}

/** Optimiser, schedule and step count over a model and, if there is one, its critic. */
export class Trainer extends Handle<NativeTrainer> {
  readonly model: Model;
  readonly critic: Model | "shared" | null;
  #stepCount = 0;
  #learningRate: number;
  /** Known soon after creation. */
  #stateTensors: StateTensors | undefined;

  /** @internal */
  constructor(model: Model, options: TrainerOptions) {
    if (!(model instanceof Model)) throw badArgument(`createTrainer takes a Model, not ${show(model)}`);
    const settings = checkOptions(options, model.engine.seed);
    const critic = checkCritic(model, options.critic ?? null);
    const nativeCritic = critic instanceof Model ? critic.native : critic;
    const native = model.engine.native.createTrainer(model.native, nativeCritic, settings);
    super("trainer", native, model);
    this.model = model;
    this.critic = critic;
    this.#learningRate = native.initialLearningRate;
    native.describe().promise.then(
      (tensors) => {
        this.#stateTensors = tensors;
      },
      () => {}, // The first call says why the trainer could not be made.
    );
  }

  /** Updates made so far. */
  get stepCount(): number {
    return this.#stepCount;
  }

  /** Of the next update. */
  get learningRate(): number {
    return this.#learningRate;
  }

  /**
   * One optimiser update over a whole batch. Micro-batches inside are weighted so that the gradient is exactly that of
   * the batch. Progress counts tokens. A step that runs out of memory begins again in micro-batches of half the size,
   * which stay (`StepMetrics.microBatchTokens`); it rejects with `OUT_OF_MEMORY` when that is not enough.
   *
   * @throws SpaError `NOT_FINITE` (loss or gradient), `BAD_ARGUMENT`, `CAPACITY`, `ABORTED`, `OUT_OF_MEMORY`; weights
   * and optimiser are unchanged then.
   */
  async step(batch: TrainBatch, loss: Loss, options: LongCall = {}): Promise<StepMetrics> {
    checkObject(options, "options", longCallKeys);
    const checkedLoss = checkLoss(loss, this.critic !== null);
    const { vocabularySize, maxPositions } = this.model.config;
    const critics = this.critic instanceof Model ? this.critic.config.maxPositions : maxPositions;
    const limits = { vocabularySize, maxPositions: Math.min(maxPositions, critics) };
    const checkedBatch = checkTrainBatch(batch, checkedLoss, limits, this.critic !== null);
    const result = await this.call(
      (native, progress) => native.step(checkedBatch, checkedLoss, progress),
      options,
    );
    const { figures, stepCount, nextLearningRate, modelVersion, criticVersion } = result;
    this.#stepCount = stepCount;
    this.#learningRate = nextLearningRate;
    this.model.setVersion(modelVersion);
    if (this.critic instanceof Model) this.critic.setVersion(criticVersion);
    return namedFigures(figures);
  }

  /**
   * Writes optimizer.safetensors, with a critic of its own critic-optimizer.safetensors, and trainer.json into
   * `folder`, without the models' weights. Await the trainer's first call before this one, or this one before the next
   * step: then it is the state at the time of the call.
   *
   * @throws SpaError `DISK_FULL`; the old files are unchanged then.
   */
  async saveState(folder: string): Promise<void> {
    checkText(folder, "folder");
    void this.native;
    const tensors = this.#stateTensors ?? (await this.call((native) => native.describe()));
    await writeTrainerState(folder, tensors, (...files) => this.call((native) => native.saveState(...files)));
  }

  /**
   * Takes over what {@link saveState} wrote; with the weights of the same moment, training goes on to the same
   * numbers. Options (learning rate, schedule, …) are not part of the state.
   *
   * @throws SpaError `BAD_CHECKPOINT`; nothing has changed then.
   */
  async loadState(folder: string): Promise<void> {
    checkText(folder, "folder");
    const tensors = await this.call((native) => native.describe());
    const { stepCount, actorTensors, criticTensors } = await readTrainerState(folder, tensors);
    const load = this.call((native) => native.loadState(stepCount, actorTensors, criticTensors));
    this.#learningRate = await load.catch((error) => {
      throw locate(error, folder);
    });
    this.#stepCount = stepCount;
  }

  /** Frees the optimiser once the calls made before are done. The models stay. */
  override dispose(): Promise<void> {
    return super.dispose();
  }

  /** A trainer needs its critic, too. @internal */
  override get native(): NativeTrainer {
    const native = super.native;
    if (this.critic instanceof Model) void this.critic.native;
    return native;
  }
}

/** The engine's figures under the names of {@link StepMetrics}, without those that do not apply. */
function namedFigures(figures: NativeStep["figures"]): StepMetrics {
  const known = stepMetricEntries.flatMap(([key, { name }]) => {
    const value = figures[name] ?? Number.NaN;
    return Number.isNaN(value) ? [] : [[key, value] as const];
  });
  return Object.fromEntries(known) as StepMetrics;
}

function checkCritic(model: Model, critic: unknown): Model | "shared" | null {
  if (critic === null) return null;
  const hint = "make a critic with model.clone({ valueHead: true })";
  if (critic === "shared") {
    if (!model.hasValueHead) throw badArgument('critic is "shared", but the model has no value head', hint);
    return critic;
  }
  if (!(critic instanceof Model))
    throw badArgument(`critic must be a Model, "shared" or null, not ${show(critic)}`);
  if (critic === model) throw badArgument('critic is the model itself; say "shared"');
  checkSameEngine(model, critic, "the critic");
  if (!critic.hasValueHead) throw badArgument("the critic has no value head", hint);
  if (critic.config.vocabularySize !== model.config.vocabularySize) {
    throw badArgument(
      `the critic's vocabulary (${critic.config.vocabularySize}) is not the model's (${model.config.vocabularySize})`,
    );
  }
  return critic;
}

function checkOptions(options: TrainerOptions, defaultSeed: number): NativeTrainerOptions {
  checkObject(options, "options", [
    "optimizer",
    "gradientClip",
    "schedule",
    "critic",
    "criticOptimizer",
    "microBatchTokens",
    "seed",
    "activationCheckpointing",
    "moments",
  ]);
  const optimizer = checkOptimizer(options.optimizer ?? {}, "optimizer");
  const clip = options.gradientClip === undefined ? 1 : options.gradientClip;
  return {
    optimizer,
    criticOptimizer: checkOptimizer(options.criticOptimizer ?? options.optimizer ?? {}, "criticOptimizer"),
    gradientClip: clip === null ? null : checkNumber(clip, "gradientClip", { above: 0 }),
    schedule: checkSchedule(options.schedule ?? { kind: "constant" }),
    microBatchTokens: checkInteger(options.microBatchTokens ?? 8192, "microBatchTokens", 1, 2 ** 31 - 1),
    seed: checkInteger(options.seed ?? defaultSeed, "seed", 0),
    activationCheckpointing: checkBoolean(
      options.activationCheckpointing ?? false,
      "activationCheckpointing",
    ),
    moments: checkOneOf(options.moments ?? "float32", "moments", ["float32", "int8"]),
  };
}

function checkOptimizer(options: OptimizerOptions, name: string): NativeOptimizerOptions {
  checkObject(options, name, ["learningRate", "betas", "weightDecay", "epsilon"]);
  const betas = options.betas ?? [0.9, 0.999];
  if (!Array.isArray(betas) || betas.length !== 2) throw badArgument(`${name}.betas must be two numbers`);
  const beta = { atLeast: 0, below: 1 };
  return {
    learningRate: checkNumber(options.learningRate ?? 1e-3, `${name}.learningRate`, { atLeast: 0 }),
    beta1: checkNumber(betas[0], `${name}.betas[0]`, beta),
    beta2: checkNumber(betas[1], `${name}.betas[1]`, beta),
    weightDecay: checkNumber(options.weightDecay ?? 0.01, `${name}.weightDecay`, { atLeast: 0 }),
    epsilon: checkNumber(options.epsilon ?? 1e-8, `${name}.epsilon`, { above: 0 }),
  };
}

function checkSchedule(schedule: ScheduleOptions): NativeTrainerOptions["schedule"] {
  checkObject(schedule, "schedule", ["kind", "warmupSteps", "totalSteps", "minimumRatio"]);
  const kind = checkOneOf(schedule.kind, "schedule.kind", ["constant", "linear", "cosine"]);
  const warmupSteps = checkInteger(schedule.warmupSteps ?? 0, "schedule.warmupSteps", 0);
  const totalSteps = checkInteger(schedule.totalSteps ?? 0, "schedule.totalSteps", 0);
  if (kind !== "constant" && totalSteps <= warmupSteps) {
    throw badArgument(
      `schedule.totalSteps (${totalSteps}) must be greater than schedule.warmupSteps (${warmupSteps}) for "${kind}"`,
    );
  }
  const minimumRatio = checkNumber(schedule.minimumRatio ?? 0, "schedule.minimumRatio", {
    atLeast: 0,
    atMost: 1,
  });
  return { kind, warmupSteps, totalSteps, minimumRatio };
}
