import { SpaError } from "../errors.ts";
import type { Dtype, NativeModel, NativeScores } from "./addon.ts";
import {
  badArgument,
  checkBatch,
  checkBoolean,
  checkInteger,
  checkNumber,
  checkObject,
  checkRowLengths,
  checkText,
  type RaggedBatch,
} from "./arguments.ts";
import { type LongCall, longCallKeys, run } from "./call.ts";
import type { Engine } from "./engine.ts";
import type { ModelConfig } from "./model-config.ts";
import { writeModelFolder } from "./model-folder.ts";
import { Session } from "./session.ts";

export interface ScoreBatch extends RaggedBatch {
  /** The logits are divided by it before the softmax; 1 by default. */
  temperature?: number;
}

export interface SessionOptions {
  slots: number;
  /** Per slot. */
  maxTokens: number;
  /** Seed of the sampling; by default the engine's. */
  seed?: number;
}

/** What {@link Model.score} computes; entry k of each array speaks of `tokens[k]`, 0 for the first of a row. */
export interface Scores {
  logProbs?: Float32Array;
  entropy?: Float32Array;
  values?: Float32Array;
}

/** A decoder with its weights, on one engine. Made by {@link Engine.createModel} and {@link Engine.loadModel}. */
export class Model {
  readonly engine: Engine;
  readonly config: ModelConfig;
  readonly dtype: Dtype;
  readonly parameterCount: number;
  readonly hasValueHead: boolean;
  readonly #native: NativeModel;
  #version: number;
  #disposal: Promise<void> | undefined;

  /** @internal */
  constructor(engine: Engine, native: NativeModel, config: ModelConfig, dtype: Dtype) {
    this.engine = engine;
    this.#native = native;
    this.config = config;
    this.dtype = dtype;
    this.parameterCount = native.parameterCount;
    this.hasValueHead = native.hasValueHead;
    this.#version = native.version;
  }

  /** Grows with every change of the weights. */
  get version(): number {
    return this.#version;
  }

  /** Told by trainers. @internal */
  setVersion(version: number): void {
    this.#version = version;
  }

  get disposed(): boolean {
    return this.#disposal !== undefined || this.engine.disposed;
  }

  /** The native model, for the classes of this folder. @throws SpaError `DISPOSED`. @internal */
  get native(): NativeModel {
    if (this.disposed) throw new SpaError("DISPOSED", "the model was disposed");
    return this.#native;
  }

  /**
   * Writes Hugging Face files (config.json, generation_config.json, model.safetensors) into `folder`, which is made if
   * need be and may hold other files. Each file is written aside, synced and renamed. What is saved are the weights
   * at the time of the call.
   *
   * @throws SpaError `DISK_FULL`, `ABORTED`; the old files are unchanged then.
   */
  async save(folder: string, options: LongCall = {}): Promise<void> {
    checkText(folder, "folder");
    checkObject(options, "options", longCallKeys);
    const { native } = this;
    const description = { config: this.config, dtype: this.dtype, tensors: native.tensors };
    await writeModelFolder(folder, description, (file, header) =>
      run((progress) => native.save(file, header, progress), options),
    );
  }

  /** A model with weights of its own, the same numbers. A value head that is new starts at zero. */
  async clone(options: { valueHead?: boolean } = {}): Promise<Model> {
    checkObject(options, "options", ["valueHead"]);
    const valueHead = checkBoolean(options.valueHead ?? this.hasValueHead, "valueHead");
    const { native } = this;
    return new Model(this.engine, await run(() => native.clone({ valueHead })), this.config, this.dtype);
  }

  /** Takes over the numbers of another model of the same shape, e.g. to refresh a frozen copy that serves. */
  async copyFrom(other: Model): Promise<void> {
    if (!(other instanceof Model)) throw badArgument("copyFrom takes a Model");
    checkSameEngine(this, other, "the model to copy from");
    const { native } = this;
    const source = other.native;
    this.#version = await run(() => native.copyFrom(source));
  }

  /**
   * Log-probabilities `[tokens]` of each token given what stands before it in its row.
   *
   * @throws SpaError `BAD_ARGUMENT`, `CAPACITY` (a row longer than the model's positions), `ABORTED`.
   */
  async logProbs(batch: ScoreBatch, options: LongCall = {}): Promise<Float32Array> {
    return (await this.#score(batch, { logProbs: true, entropy: false, values: false }, options)).logProbs!;
  }

  /** Entropy `[tokens]`, in nats, of the distribution that predicts each token. Errors as in {@link logProbs}. */
  async entropy(batch: ScoreBatch, options: LongCall = {}): Promise<Float32Array> {
    return (await this.#score(batch, { logProbs: false, entropy: true, values: false }, options)).entropy!;
  }

  /** Values `[tokens]` of what stands before each token, by the value head. Errors as in {@link logProbs}. */
  async values(batch: ScoreBatch, options: LongCall = {}): Promise<Float32Array> {
    return (await this.#score(batch, { logProbs: false, entropy: false, values: true }, options)).values!;
  }

  /** Several of {@link logProbs} (the default), {@link entropy} and {@link values} in one forward pass. */
  async score(
    batch: ScoreBatch,
    what: { logProbs?: boolean; entropy?: boolean; values?: boolean } = {},
    options: LongCall = {},
  ): Promise<Scores> {
    checkObject(what, "what", ["logProbs", "entropy", "values"]);
    const entropy = checkBoolean(what.entropy ?? false, "entropy");
    const values = checkBoolean(what.values ?? false, "values");
    const logProbs = checkBoolean(what.logProbs ?? !(entropy || values), "logProbs");
    return this.#score(batch, { logProbs, entropy, values }, options);
  }

  async #score(
    batch: ScoreBatch,
    what: { logProbs: boolean; entropy: boolean; values: boolean },
    options: LongCall,
  ): Promise<NativeScores> {
    checkObject(options, "options", longCallKeys);
    const temperature = checkNumber(batch?.temperature ?? 1, "temperature", { above: 0 });
    const rows = checkBatch(batch, "batch", this.config.vocabularySize);
    checkRowLengths(rows, this.config.maxPositions);
    if (what.values && !this.hasValueHead) {
      throw badArgument("the model has no value head", "make one with model.clone({ valueHead: true })");
    }
    const { native } = this;
    return run((progress) => native.score(rows, { ...what, temperature }, progress), options);
  }

  /** KV-cache slots for sampling from this model. */
  async openSession(options: SessionOptions): Promise<Session> {
    checkObject(options, "options", ["slots", "maxTokens", "seed"]);
    const slots = checkInteger(options.slots, "slots", 1, 2 ** 20);
    const maxTokens = checkInteger(options.maxTokens, "maxTokens", 1, 2 ** 31 - 1);
    const seed = checkInteger(options.seed ?? this.engine.seed, "seed", 0);
    if (maxTokens > this.config.maxPositions) {
      const message = `maxTokens is ${maxTokens}, the model has ${this.config.maxPositions} positions`;
      throw new SpaError("CAPACITY", message, { hint: "ask for fewer tokens per slot" });
    }
    const { native } = this;
    return new Session(
      this,
      await run(() => native.openSession({ slots, maxTokens, seed })),
      slots,
      maxTokens,
    );
  }

  /** Frees the weights once the calls made before are done. Sessions and trainers of the model end with it. */
  dispose(): Promise<void> {
    this.#disposal ??= this.engine.disposed ? this.engine.dispose() : this.#native.dispose().promise;
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** Refuses an object that lives on another engine. @internal */
export function checkSameEngine(a: { engine: Engine }, b: { engine: Engine }, what: string): void {
  if (a.engine !== b.engine)
    throw badArgument(`${what} belongs to another engine`, "load it on the same engine");
}
