import { setMaxListeners } from "node:events";
import { isDeepStrictEqual } from "node:util";
import type { Dtype, NativeModel, NativeScores } from "../addon/addon.ts";
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
  toInt32,
} from "../addon/arguments.ts";
import { SpaError } from "../errors.ts";
import {
  type AdapterInput,
  type AdapterSettings,
  adapterKeys,
  completeAdapter,
  nativeAdapter,
} from "../formats/adapter-config.ts";
import { readAdapterFolder, writeAdapterFolder } from "../formats/adapter-folder.ts";
import { withEndTokens } from "../formats/hugging-face-config.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import { writeModelFolder } from "../formats/model-folder.ts";
import { tensorBytes } from "../formats/safetensors.ts";
import { checkLongCall, type LongCall, locate, longCallKeys, run } from "./call.ts";
import type { Engine } from "./engine.ts";
import { Handle } from "./handle.ts";
import { Session } from "./session.ts";

export interface ScoreBatch extends RaggedBatch {
  /** The logits are divided by it before the softmax; 1 by default. */
  temperature?: number;
}

export interface SaveOptions extends LongCall {
  /** Weights of more bytes are written in several files with an index; 5 GB by default, as transformers does it. */
  maxShardBytes?: number;
  /** Tokens that end replies beside the model's own: `chatFormatOf(tokenizer).stopTokens` of a model for conversations. */
  endTokens?: ArrayLike<number>;
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

/** What {@link Model.addAdapter} makes. */
export interface AddAdapterOptions extends AdapterInput {
  /** Seed of A's first numbers; by default the engine's. */
  seed?: number;
  /** Gives the adapter a value head of its own; by default when the backbone has one, whose numbers it then takes over. */
  valueHead?: boolean;
}

/** Where an adapter belongs, for its configuration file. */
export interface SaveAdapterOptions extends LongCall {
  /** Hub id or folder of the base model; relative folders count from the adapter's. */
  base?: string | null;
  /** The base model's revision on the Hub. */
  revision?: string | null;
}

/** Of all slots together: the cache counts its blocks in 32 bits. */
const maximumCacheTokens = 2 ** 36;

/** How often some weights have changed. Models on one backbone share its count. */
interface WeightVersion {
  own: number;
  readonly backbone: WeightVersion | null;
}

/** What a model is made from beside its weights. */
interface ModelDescription {
  config: ModelConfig;
  dtype: Dtype;
  adapter?: AdapterSettings | null;
  /** Of the weights, where another handle on them exists already. */
  version?: WeightVersion | null;
  /** Of the weights under the adapter. */
  backboneVersion?: WeightVersion;
}

/**
 * A decoder with its weights, on one engine. Made by {@link Engine.createModel} and {@link Engine.loadModel}.
 *
 * A model may be a LoRA adapter on another model's weights ({@link addAdapter}, {@link loadAdapter}): it then shares
 * them, and a trainer trains the adapter (and its value head) alone.
 */
export class Model extends Handle<NativeModel> {
  readonly engine: Engine;
  readonly config: ModelConfig;
  readonly dtype: Dtype;
  /** All weights that a forward pass reads. */
  readonly parameterCount: number;
  /** Those that a trainer trains: all, or the adapter's. */
  readonly trainableCount: number;
  readonly hasValueHead: boolean;
  /** The adapter's settings; null for a model without one. */
  readonly adapter: AdapterSettings | null;
  readonly #version: WeightVersion;

  /** @internal */
  constructor(engine: Engine, native: NativeModel, description: ModelDescription) {
    super("model", native, engine);
    this.engine = engine;
    this.config = description.config;
    this.dtype = description.dtype;
    this.adapter = description.adapter ?? null;
    this.parameterCount = native.parameterCount;
    this.trainableCount = native.tensors.reduce(
      (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
      0,
    );
    this.hasValueHead = native.hasValueHead;
    this.#version = description.version ?? {
      own: native.version,
      backbone: description.backboneVersion ?? null,
    };
  }

  /** Grows with every change of the weights, those of a backbone included. */
  get version(): number {
    const { own, backbone } = this.#version;
    return own + (backbone?.own ?? 0);
  }

  /** Told by trainers, of what can be trained. @internal */
  setVersion(version: number): void {
    this.#version.own = version;
  }

  /**
   * Writes Hugging Face files (config.json, generation_config.json, model.safetensors or shards with their index) into
   * `folder`, which is made if need be and may hold other files. Each file is written aside, synced and renamed. What is
   * saved are the weights at the time of the call; generation_config.json keeps the fields that the model came with, and its
   * `eos_token_id` names `endTokens`, too, so that other programs end replies where they ended here.
   *
   * @throws SpaError `DISK_FULL`, `ABORTED`; the old files are unchanged then. `BAD_ARGUMENT` for a model with an adapter:
   * {@link saveAdapter} or {@link merge} it; and for a folder that holds an adapter.
   */
  async save(folder: string, options: SaveOptions = {}): Promise<void> {
    checkText(folder, "folder");
    checkObject(options, "options", ["maxShardBytes", "endTokens", ...longCallKeys]);
    checkLongCall(options);
    const { signal, onProgress } = options;
    const maxShardBytes = checkInteger(options.maxShardBytes ?? 5e9, "maxShardBytes", 1);
    if (this.adapter) {
      throw badArgument(
        "the model carries an adapter",
        "saveAdapter(folder), or (await model.merge()).save(folder)",
      );
    }
    const { native } = this;
    const endTokens = toInt32(options.endTokens ?? [], "endTokens", 0, this.config.vocabularySize - 1);
    const config = withEndTokens(this.config, endTokens);
    const description = { config, dtype: this.dtype, tensors: native.tensors };
    const total = native.tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
    // Every shard's call listens to it at the same time.
    const shared = signal && AbortSignal.any([signal]);
    if (shared) setMaxListeners(0, shared);
    let before = 0;
    await writeModelFolder(folder, description, maxShardBytes, (file, header, { first, tensors, bytes }) => {
      const begin = before;
      before += bytes;
      return run((progress) => native.save(file, header, { first, count: tensors.length }, progress), {
        signal: shared,
        onProgress: onProgress && ((done) => onProgress(begin + done, total)),
      });
    });
  }

  /**
   * A model with weights of its own, the same numbers. Of a model with an adapter: another adapter on the same backbone. A
   * value head that is new starts at zero.
   */
  async clone(options: { valueHead?: boolean } = {}): Promise<Model> {
    checkObject(options, "options", ["valueHead"]);
    const valueHead = checkBoolean(options.valueHead ?? this.hasValueHead, "valueHead");
    const backbone = this.#version.backbone;
    return this.#another(await this.call((native) => native.clone({ valueHead })), {
      adapter: this.adapter,
      ...(backbone && { backboneVersion: backbone }),
    });
  }

  /**
   * A fresh adapter on this model's weights, which it shares; A as PEFT draws it, B zero, so that it changes nothing before
   * it is trained. This model may be disposed of: weights live as long as a model uses them.
   *
   * @throws SpaError `BAD_ARGUMENT`, `OUT_OF_MEMORY`.
   */
  async addAdapter(options: AddAdapterOptions): Promise<Model> {
    checkObject(options, "options", [...adapterKeys, "seed", "valueHead"]);
    this.#refuseAdapter();
    const { seed: chosenSeed, valueHead: wanted, ...input } = options;
    const settings = completeAdapter(input);
    const seed = checkInteger(chosenSeed ?? this.engine.seed, "seed", 0);
    const valueHead = checkBoolean(wanted ?? this.hasValueHead, "valueHead");
    const adapter = nativeAdapter(settings);
    const model = await this.call((native) => native.addAdapter({ adapter, valueHead, seed }));
    return this.#another(model, { adapter: settings, backboneVersion: this.#version });
  }

  /**
   * An adapter on this model's weights from PEFT's files (adapter_config.json, adapter_model.safetensors), with its value
   * head if value_head.safetensors stands beside them.
   *
   * @throws SpaError `BAD_ADAPTER` (for another model, or with features that the engine lacks), `BAD_CHECKPOINT` (missing,
   * truncated or foreign files, weights that are not finite), `ABORTED`.
   */
  async loadAdapter(folder: string, options: LongCall = {}): Promise<Model> {
    checkText(folder, "folder");
    checkObject(options, "options", longCallKeys);
    this.#refuseAdapter();
    void this.native;
    const { settings, tensors } = await readAdapterFolder(folder, this.config);
    const adapter = nativeAdapter(settings);
    const load = this.call((native, progress) => native.loadAdapter(adapter, tensors, progress), options);
    const model = await load.catch((error) => {
      throw locate(error, folder);
    });
    return this.#another(model, { adapter: settings, backboneVersion: this.#version });
  }

  #refuseAdapter(): void {
    if (!this.adapter) return;
    throw badArgument(
      "the model carries an adapter already",
      "merge() it first, or take the model's backbone()",
    );
  }

  /**
   * Writes PEFT's files into `folder`, which is made if need be and may hold other files, and value_head.safetensors if there
   * is one. Each file is written aside, synced and renamed.
   *
   * @throws SpaError `BAD_ARGUMENT` without an adapter and for a folder that holds a whole model, `DISK_FULL`, `ABORTED`; the old files are unchanged then.
   */
  async saveAdapter(folder: string, options: SaveAdapterOptions = {}): Promise<void> {
    checkText(folder, "folder");
    checkObject(options, "options", ["base", "revision", ...longCallKeys]);
    const { base = null, revision = null, ...call } = options;
    if (base !== null) checkText(base, "base");
    if (revision !== null) checkText(revision, "revision");
    const { native } = this;
    const content = { settings: this.#adapterSettings(), base, revision, tensors: native.tensors };
    await writeAdapterFolder(folder, content, (file, header, part) =>
      run((progress) => native.save(file, header, part, progress), call),
    );
  }

  /** The model without its adapter, another handle on the same weights. @throws SpaError `BAD_ARGUMENT` without an adapter. */
  async backbone(): Promise<Model> {
    void this.#adapterSettings();
    return this.#another(await this.call((native) => native.backbone()), { version: this.#version.backbone });
  }

  /** All weights with the adapter's part added, and its value head. @throws SpaError `BAD_ARGUMENT`, `OUT_OF_MEMORY`. */
  async merge(): Promise<Model> {
    void this.#adapterSettings();
    return this.#another(await this.call((native) => native.merge()), {});
  }

  #adapterSettings(): AdapterSettings {
    if (this.adapter) return this.adapter;
    throw badArgument("the model has no adapter", "make one with model.addAdapter or model.loadAdapter");
  }

  #another(native: NativeModel, description: Omit<ModelDescription, "config" | "dtype">): Model {
    return new Model(this.engine, native, { config: this.config, dtype: this.dtype, ...description });
  }

  /**
   * Takes over the numbers of another model of the same shape (of adapters: of another one of its kind on the same
   * backbone), e.g. to refresh a frozen copy that serves.
   *
   * @throws SpaError `BAD_ARGUMENT`.
   */
  async copyFrom(other: Model): Promise<void> {
    if (!(other instanceof Model)) throw badArgument("copyFrom takes a Model");
    checkSameEngine(this, other, "the model to copy from");
    this.#checkSameKind(other);
    const source = other.native;
    this.#version.own = await this.call((native) => native.copyFrom(source));
  }

  #checkSameKind(other: Model): void {
    const kind = (model: Model) => model.adapter && nativeAdapter(model.adapter);
    if (this.#version.backbone !== other.#version.backbone || !isDeepStrictEqual(kind(this), kind(other))) {
      throw badArgument(
        "copyFrom: the models are not adapters of one kind on the same backbone",
        "merge() gives a model that holds all its weights",
      );
    }
    const weights = (model: Model) =>
      model.native.tensors
        .filter(({ name }) => !name.startsWith("value_head."))
        .map(({ name, shape }) => ({ name, shape }));
    if (!isDeepStrictEqual(weights(this), weights(other))) {
      throw badArgument("copyFrom: the models have different shapes");
    }
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
    return this.call((native, progress) => native.score(rows, { ...what, temperature }, progress), options);
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
    if (slots * maxTokens > maximumCacheTokens) {
      throw badArgument(
        `${slots} slots of ${maxTokens} tokens are more than the ${maximumCacheTokens} tokens of a session`,
      );
    }
    const session = await this.call((native) => native.openSession({ slots, maxTokens, seed }));
    return new Session(this, session, slots, maxTokens);
  }

  /** Frees the weights once the calls made before are done. Sessions and trainers of the model end with it. */
  override dispose(): Promise<void> {
    return super.dispose();
  }
}

/** Refuses an object that lives on another engine. @internal */
export function checkSameEngine(a: { engine: Engine }, b: { engine: Engine }, what: string): void {
  if (a.engine !== b.engine)
    throw badArgument(`${what} belongs to another engine`, "load it on the same engine");
}
