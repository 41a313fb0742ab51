import type { SpaError } from "../errors.ts";
import type { ArrayFunctions, NativeLoss } from "./arrays.ts";

/**
 * The typed mirror of everything that the native addon (native/addon.cc) exports.
 *
 * lib/engine checks arguments and fills in defaults before it calls; native code trusts what it is given.
 */
export interface Addon extends ArrayFunctions {
  /** Called once per JavaScript environment, before anything else: native code throws this class. */
  initialize(errorClass: typeof SpaError): void;
  info(): AddonInfo;
  /** Name and shape of every parameter of a model, in file order. */
  parameters(config: NativeModelConfig, valueHead: boolean): { name: string; shape: number[] }[];
  /** Name and shape of every parameter of an adapter on a model, in file order, without value head. */
  adapterParameters(config: NativeModelConfig, adapter: NativeAdapter): { name: string; shape: number[] }[];
  /** What the passes of a workload take, each kind at its largest; needs no engine. */
  passMemory(
    config: NativeModelConfig,
    settings: NativePassSettings,
    work: NativeWorkload,
  ): NativePassMemory[];
  Engine: new (options: NativeEngineOptions) => NativeEngine;
}

/** What `spa doctor` prints about the native side. */
export interface AddonInfo {
  /** The version of libtorch in this process, e.g. `"2.13.0"`. */
  libtorch: string;
  /** The instruction set that libtorch uses, e.g. `"AVX512"`. */
  cpuCapability: string;
  /** The instruction set of this package's own kernels: `"baseline"`, `"avx2"` or `"avx512"`. */
  isa: string;
  /** libtorch has oneDNN. */
  mkldnn: boolean;
  /** This addon was compiled with CUDA. */
  cuda: boolean;
  /** Names of the CUDA devices that this process can use. */
  devices: string[];
}

export type Device = "cpu" | "cuda";
export type Dtype = "float32" | "bfloat16";
export type Moments = "float32" | "int8";
export type Initialization = "default" | "nano";

/**
 * A call that runs on an engine's thread, after those made before it. `abort()` makes it reject with `ABORTED` at its
 * next opportunity; it does nothing once the call has settled.
 */
export interface NativeCall<T> {
  promise: Promise<T>;
  abort(): void;
}

export type NativeProgress = ((done: number, total: number) => void) | undefined;

interface NativeEngineOptions {
  device: Device | "auto";
  threads: number;
  seed: number;
  /** Bytes; 0: none. */
  memoryLimit: number;
}

/** spa::PassSettings. */
interface NativePassSettings {
  dtype: Dtype;
  device: Device;
  /** CPU threads. */
  threads: number;
  microBatchTokens: number;
  activationCheckpointing: boolean;
  moments: Moments;
  adapter: NativeAdapter | null;
}

/** spa::Workload: what is done, one after the other, while the same models are in memory. */
export interface NativeWorkload {
  /** Models with weights at the same time, the trained ones included. */
  models: number;
  /** Models that are trained, one after the other in each update. */
  trained: number;
  /** The longest row, in tokens. */
  row: number;
  /** Rows of an update; 0: nothing is trained. */
  updateRows: number;
  /** Rows that are scored together; 0: nothing is. */
  scoredRows: number;
  /** Slots that are sampled at the same time; 0: nothing is. */
  slots: number;
}

/** A kind of pass within a workload. */
export type PhaseName = "sampling" | "scoring" | "update";

/** spa::PassMemory: bytes at a pass's peak. */
export interface NativePassMemory {
  phase: PhaseName;
  /** On their way at the same time, at most; not bytes. */
  tokens: number;
  weights: number;
  /** Float32 copies of bfloat16 weights that are trained. */
  master: number;
  moments: number;
  gradients: number;
  /** Keys and values of the tokens of all slots. */
  cache: number;
  /** Kept for the backward pass, and what kernels need while they run. */
  activations: number;
  /** Chunks of logits and what is made of them. */
  logits: number;
}

export interface NativeEngine {
  /** Starts the thread's device and settings. */
  start(): NativeCall<{ device: Device }>;
  createModel(config: NativeModelConfig, options: NativeCreateModelOptions): NativeCall<NativeModel>;
  loadModel(
    config: NativeModelConfig,
    tensors: NativeTensorSource[],
    options: { dtype: Dtype },
    progress: NativeProgress,
  ): NativeCall<NativeModel>;
  /** Creation takes place on the engine's thread; should it fail, the trainer's first call rejects. */
  createTrainer(
    model: NativeModel,
    critic: NativeModel | "shared" | null,
    options: NativeTrainerOptions,
  ): NativeTrainer;
  /** Seconds of the fastest of `repeats` products of [rows, inner] and [inner, columns]. */
  gemm(options: NativeGemmOptions): NativeCall<number>;
  memory(): NativeCall<{ current: number; peak: number; limit: number }>;
  resetPeakMemory(): NativeCall<void>;
  /** Lets the running call finish, rejects those that wait with `DISPOSED`, frees everything and ends the thread. */
  dispose(): Promise<void>;
}

interface NativeGemmOptions {
  rows: number;
  inner: number;
  columns: number;
  dtype: Dtype;
  repeats: number;
}

/** spa::ModelConfig. */
export interface NativeModelConfig {
  vocab: number;
  hidden: number;
  intermediate: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  ropeTheta: number;
  rmsEps: number;
  ropeScaling: NativeRopeScaling;
  qkvBias: boolean;
  oBias: boolean;
  mlpBias: boolean;
  qkNorm: boolean;
  tied: boolean;
  maxPositions: number;
}

/** spa::AdapterConfig; `targets` are q, k, v, o, gate, up and down. */
export interface NativeAdapter {
  rank: number;
  scale: number;
  dropout: number;
  targets: boolean[];
}

interface NativeRopeScaling {
  kind: "none" | "linear" | "llama3";
  factor: number;
  lowFrequencyFactor: number;
  highFrequencyFactor: number;
  originalMaxPositions: number;
}

interface NativeCreateModelOptions {
  dtype: Dtype;
  seed: number;
  initialization: Initialization;
  valueHead: boolean;
}

/** The number types of tensors in files that can be read as weights, by their names in safetensors headers. */
type FloatDtype = "F64" | "F32" | "F16" | "BF16";

/** And of those in a trainer's state: quantised moments are bytes. */
export type StoredDtype = FloatDtype | "U8";

/** Where a tensor lies in a file: bytes `begin` to `end` from the file's start. */
export interface NativeTensorSource {
  name: string;
  dtype: StoredDtype;
  shape: number[];
  file: string;
  begin: number;
  end: number;
}

/** A tensor as a model or trainer would write it. */
export interface NativeTensorInfo {
  name: string;
  dtype: StoredDtype;
  shape: number[];
}

export interface NativeModel {
  readonly parameterCount: number;
  readonly hasValueHead: boolean;
  /** The version of the weights that can be trained, at the time of creation. */
  readonly version: number;
  /** Names, dtypes and shapes of what can be trained, in the order in which `save` writes them. */
  readonly tensors: NativeTensorInfo[];
  /** Writes `header` and then `part.count` tensors from number `part.first` on to a new file, and syncs it to disk. */
  save(
    file: string,
    header: Uint8Array,
    part: { first: number; count: number },
    progress: NativeProgress,
  ): NativeCall<void>;
  clone(options: { valueHead: boolean }): NativeCall<NativeModel>;
  addAdapter(options: { adapter: NativeAdapter; valueHead: boolean; seed: number }): NativeCall<NativeModel>;
  loadAdapter(
    adapter: NativeAdapter,
    tensors: NativeTensorSource[],
    progress: NativeProgress,
  ): NativeCall<NativeModel>;
  /** Another handle on the model that this one's adapter is on. */
  backbone(): NativeCall<NativeModel>;
  merge(): NativeCall<NativeModel>;
  /** Resolves to the new version of the weights that can be trained. */
  copyFrom(other: NativeModel): NativeCall<number>;
  score(
    batch: { tokens: Int32Array; offsets: Uint32Array },
    options: { temperature: number; logProbs: boolean; entropy: boolean; values: boolean },
    progress: NativeProgress,
  ): NativeCall<NativeScores>;
  openSession(options: { slots: number; maxTokens: number; seed: number }): NativeCall<NativeSession>;
  dispose(): NativeCall<void>;
}

export interface NativeScores {
  logProbs?: Float32Array;
  entropy?: Float32Array;
  values?: Float32Array;
}

export interface NativeSession {
  extend(
    slots: Int32Array,
    batch: { tokens: Int32Array; offsets: Uint32Array },
    progress: NativeProgress,
  ): NativeCall<void>;
  fork(slot: number, targets: Int32Array, length: number | undefined): NativeCall<void>;
  generate(
    slots: Int32Array,
    options: NativeGenerateOptions,
    progress: NativeProgress,
  ): NativeCall<NativeGenerated>;
  release(slots: Int32Array): NativeCall<void>;
  releaseAll(): NativeCall<void>;
  dispose(): NativeCall<void>;
}

interface NativeGenerateOptions {
  maxNewTokens: Int32Array;
  temperature: number;
  /** 0: no limit. */
  topK: number;
  /** 1: no limit. */
  topP: number;
  stopTokens: Int32Array;
  /** Keys of the random streams, one a slot; empty: the slots' own numbers. Float64 holds whole numbers to 2^53. */
  streams: Float64Array;
}

interface NativeGenerated {
  tokens: Int32Array;
  logProbs: Float32Array;
  offsets: Uint32Array;
  /** 0 stop, 1 length, 2 context. */
  finish: Uint8Array;
}

export interface NativeOptimizerOptions {
  learningRate: number;
  beta1: number;
  beta2: number;
  weightDecay: number;
  epsilon: number;
}

export interface NativeTrainerOptions {
  optimizer: NativeOptimizerOptions;
  criticOptimizer: NativeOptimizerOptions;
  /** Largest global norm of the gradient; null: no clipping. */
  gradientClip: number | null;
  schedule: {
    kind: "constant" | "linear" | "cosine";
    warmupSteps: number;
    totalSteps: number;
    minimumRatio: number;
  };
  microBatchTokens: number;
  /** Of adapters' dropout. */
  seed: number;
  activationCheckpointing: boolean;
  moments: Moments;
}

export interface NativeTrainBatch {
  tokens: Int32Array;
  offsets: Uint32Array;
  mask: Uint8Array;
  oldLogProbs?: Float32Array;
  advantages?: Float32Array;
  referenceLogProbs?: Float32Array;
  /** Of the tokens in `mask` (sft) or `supervisedMask` (ppo), where it is above 0. */
  tokenWeights?: Float32Array;
  supervisedMask?: Uint8Array;
  environmentMask?: Uint8Array;
  valueMask?: Uint8Array;
  oldValues?: Float32Array;
  returns?: Float32Array;
}

export interface NativeStep {
  /** Of the update, by the names of lib/metrics/step-metrics.ts; those that the loss says nothing about are absent or NaN. */
  figures: Readonly<Record<string, number>>;
  /** After the update. */
  stepCount: number;
  nextLearningRate: number;
  modelVersion: number;
  criticVersion: number;
}

export interface NativeTrainer {
  /** Learning rate of the first update. */
  readonly initialLearningRate: number;
  step(batch: NativeTrainBatch, loss: NativeLoss, progress: NativeProgress): NativeCall<NativeStep>;
  /** The tensors of the optimisers' states in file order; `critic` is empty without a critic of its own. */
  describe(): NativeCall<{ actor: NativeTensorInfo[]; critic: NativeTensorInfo[] }>;
  /** Writes the optimisers as they are between two updates, and syncs the files; resolves to the number of updates. */
  saveState(actor: NativeFile, critic: NativeFile | null): NativeCall<number>;
  /** Takes over everything or, should anything not fit, nothing; resolves to the next learning rate. */
  loadState(stepCount: number, actor: NativeTensorSource[], critic: NativeTensorSource[]): NativeCall<number>;
  dispose(): NativeCall<void>;
}

/** A safetensors file to write: its header (length and JSON); the tensors follow. */
export interface NativeFile {
  path: string;
  header: Uint8Array;
}
