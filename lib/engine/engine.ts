import { availableParallelism } from "node:os";
import type { Device, Dtype, Initialization, NativeEngine, NativeModel } from "../addon/addon.ts";
import { checkBoolean, checkInteger, checkObject, checkOneOf, checkText } from "../addon/arguments.ts";
import { allTooOld, installationProblems, readGpus } from "../addon/gpu-problems.ts";
import { addonInfo, loadAddon } from "../addon/loader.ts";
import { SpaError } from "../errors.ts";
import { adapterBase, isAdapterFolder } from "../formats/adapter-folder.ts";
import {
  completeModelConfig,
  type ModelConfig,
  type ModelConfigInput,
  nativeModelConfig,
} from "../formats/model-config.ts";
import { readModelFolder } from "../formats/model-folder.ts";
import { type LongCall, locate, longCallKeys } from "./call.ts";
import { Handle } from "./handle.ts";
import { Model } from "./model.ts";

export interface EngineOptions {
  /** `"auto"` (the default) is CUDA where there is a usable device. */
  device?: Device | "auto";
  /** Threads of the CPU work; by default as many as there are cores. One setting for all engines of a process. */
  threads?: number;
  /** Default seed of new models and sessions. */
  seed?: number;
  /**
   * Bytes that the tensors of this process may take on the device. What would pass it fails with `OUT_OF_MEMORY`. No limit
   * by default. One setting for all engines of a process on that device: it binds those that ask for none, too, and goes
   * with the last engine that asked for it.
   */
  memoryLimit?: number;
}

/** Bytes, see {@link Engine.memory}. */
export interface MemoryUse {
  current: number;
  /** Since the first of the engines that are alive on the device began, or {@link Engine.resetPeakMemory}. */
  peak: number;
  /** Null: none. */
  limit: number | null;
}

export interface CreateModelOptions {
  dtype?: Dtype;
  /** Seed of the weights; by default the engine's. */
  seed?: number;
  /** `"default"` as transformers does it; `"nano"` for very small models (docs of native/engine/weights.h). */
  initialization?: Initialization;
  /** Adds a value head, zero-initialised. */
  valueHead?: boolean;
}

export interface LoadModelOptions extends LongCall {
  /** The type to compute in, whatever the files hold; `"float32"` by default. */
  dtype?: Dtype;
}

/** A matrix product for {@link Engine.gemmRate}. */
export interface GemmOptions {
  rows: number;
  inner: number;
  columns: number;
  dtype?: Dtype;
  repeats?: number;
}

/** Of models without files, whose tensors bound the number: the names alone of a billion layers fill a machine's memory. */
const maximumNewLayers = 2 ** 16;

const dtypes = ["float32", "bfloat16"] as const;

/**
 * One native thread with everything that lives on it: models, sessions, trainers. Calls on an engine's objects run one
 * after the other in the order in which they were made. A process may hold several engines, each worker thread its own.
 */
export class Engine extends Handle<NativeEngine> {
  readonly device: Device;
  readonly threads: number;
  readonly seed: number;

  private constructor(native: NativeEngine, device: Device, threads: number, seed: number) {
    super("engine", native, null);
    this.device = device;
    this.threads = threads;
    this.seed = seed;
  }

  /**
   * @throws SpaError `ADDON_MISSING`, `UNSUPPORTED` (no CUDA device), `BAD_ARGUMENT` (also when another engine of this
   * process has another number of threads or another memory limit).
   */
  static async create(options: EngineOptions = {}): Promise<Engine> {
    checkObject(options, "options", ["device", "threads", "seed", "memoryLimit"]);
    const device = checkOneOf(options.device ?? "auto", "device", ["cpu", "cuda", "auto"]);
    const threads = checkInteger(options.threads ?? availableParallelism(), "threads", 1, 1024);
    const seed = checkInteger(options.seed ?? 0, "seed", 0);
    const { memoryLimit: limit } = options;
    const memoryLimit = limit === undefined ? 0 : checkInteger(limit, "memoryLimit", 1);
    const native = new (loadAddon().Engine)({ device, threads, seed, memoryLimit });
    try {
      const started = await native.start().promise;
      if (started.device === "cuda") refuseOldGpus();
      return new Engine(native, started.device, threads, seed);
    } catch (error) {
      await native.dispose();
      throw device === "cuda" ? withGpuProblem(error) : error;
    }
  }

  /** A model with fresh weights. @throws SpaError `BAD_ARGUMENT`, `OUT_OF_MEMORY`. */
  async createModel(config: ModelConfigInput, options: CreateModelOptions = {}): Promise<Model> {
    checkObject(options, "options", ["dtype", "seed", "initialization", "valueHead"]);
    const complete = completeModelConfig(config);
    checkInteger(complete.layers, "config.layers", 1, maximumNewLayers);
    const dtype = checkOneOf(options.dtype ?? "float32", "dtype", dtypes);
    const seed = checkInteger(options.seed ?? this.seed, "seed", 0);
    const initialization = checkOneOf(options.initialization ?? "default", "initialization", [
      "default",
      "nano",
    ]);
    const valueHead = checkBoolean(options.valueHead ?? false, "valueHead");
    const settings = { dtype, seed, initialization, valueHead };
    const model = await this.call((native) => native.createModel(nativeModelConfig(complete), settings));
    return this.#wrap(model, complete, dtype);
  }

  /**
   * Loads a folder of Hugging Face files: config.json and model.safetensors, or shards with their index. Of a folder with an
   * adapter (PEFT's files) the adapter with its base model, which must be a folder: by its absolute path, or by the path
   * from the adapter's.
   *
   * @throws SpaError `BAD_CHECKPOINT` (missing, truncated, foreign or not fitting files, weights that are not finite),
   * `UNSUPPORTED` (naming the field of config.json), `BAD_ADAPTER`, `ABORTED`.
   */
  async loadModel(folder: string, options: LoadModelOptions = {}): Promise<Model> {
    checkText(folder, "folder");
    checkObject(options, "options", ["dtype", ...longCallKeys]);
    const dtype = checkOneOf(options.dtype ?? "float32", "dtype", dtypes);
    void this.native;
    if (isAdapterFolder(folder)) {
      await using base = await this.loadModel(await adapterBase(folder), options);
      return await base.loadAdapter(folder, { signal: options.signal });
    }
    const { config, tensors } = await readModelFolder(folder);
    const load = this.call((native, progress) => {
      return native.loadModel(nativeModelConfig(config), tensors, { dtype }, progress);
    }, options);
    const model = await load.catch((error) => {
      throw locate(error, folder);
    });
    return this.#wrap(model, config, dtype);
  }

  #wrap(model: NativeModel, config: ModelConfig, dtype: Dtype): Model {
    return new Model(this, model, { config, dtype });
  }

  /**
   * FLOP per second of matrix products of [rows, inner] and [inner, columns] on this engine: what its FLOP rates can be
   * set against. The fastest of `repeats` products counts (5 by default).
   *
   * @throws SpaError `BAD_ARGUMENT`, `OUT_OF_MEMORY`.
   */
  async gemmRate(options: GemmOptions): Promise<number> {
    checkObject(options, "options", ["rows", "inner", "columns", "dtype", "repeats"]);
    const [rows, inner, columns] = (["rows", "inner", "columns"] as const).map((name) =>
      checkInteger(options[name], name, 1, 2 ** 20),
    );
    const dtype = checkOneOf(options.dtype ?? "float32", "dtype", dtypes);
    const repeats = checkInteger(options.repeats ?? 5, "repeats", 1, 10_000);
    const seconds = await this.call((native) => native.gemm({ rows, inner, columns, dtype, repeats }));
    return (2 * rows * inner * columns) / seconds;
  }

  /**
   * What the tensors and scratch buffers of this process take on the engine's device. Memory-mapped files and
   * JavaScript's own memory do not count, nor what a GPU's allocator keeps for later.
   */
  async memory(): Promise<MemoryUse> {
    const { current, peak, limit } = await this.call((native) => native.memory());
    return { current, peak, limit: limit === 0 ? null : limit };
  }

  /** The peak starts anew from what is in use. */
  async resetPeakMemory(): Promise<void> {
    await this.call((native) => native.resetPeakMemory());
  }

  /**
   * Frees everything that lives on the engine and ends its thread. The call that is running finishes first, those
   * that wait reject with `DISPOSED`. Further calls do nothing.
   */
  override dispose(): Promise<void> {
    return super.dispose();
  }
}

/** Without this the first kernel would fail with "no kernel image is available". */
function refuseOldGpus(): void {
  const old = allTooOld(readGpus().gpus);
  if (old) throw new SpaError("UNSUPPORTED", old.problem, { hint: old.remedy });
}

/** Says why a GPU that is there cannot be used, where that can be known. */
function withGpuProblem(error: unknown): unknown {
  if (!(error instanceof SpaError) || error.code !== "UNSUPPORTED") return error;
  const [first] = installationProblems(addonInfo());
  if (first === undefined || error.message === first.problem) return error;
  return new SpaError("UNSUPPORTED", `${error.message}: ${first.problem}`, {
    hint: first.remedy,
    cause: error,
  });
}
