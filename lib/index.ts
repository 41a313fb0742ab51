/** The public API of spa-ai. */
export { SpaError, type SpaErrorCode } from "./errors.ts";
export type {
  AddonInfo,
  Aggregation,
  Device,
  Dtype,
  Initialization,
  KlEstimator,
} from "./native/addon.ts";
export {
  type Advantages,
  type BiLevelGaeInput,
  biLevelGae,
  type GaeInput,
  gae,
  whiten,
} from "./native/advantage.ts";
export type { RaggedBatch } from "./native/arguments.ts";
export type { LongCall } from "./native/call.ts";
export {
  type CreateModelOptions,
  Engine,
  type EngineOptions,
  type LoadModelOptions,
} from "./native/engine.ts";
export { addonInfo, type LibtorchLocation } from "./native/loader.ts";
export { Model, type ScoreBatch, type Scores, type SessionOptions } from "./native/model.ts";
export type {
  Architecture,
  ModelConfig,
  ModelConfigInput,
  ModelShape,
  RopeScaling,
} from "./native/model-config.ts";
export { type Finish, type Generated, type GenerateOptions, Session } from "./native/session.ts";
export type {
  Loss,
  PpoBatch,
  PpoLoss,
  SftBatch,
  SftLoss,
  TrainBatch,
  ValueLoss,
  ValueTargets,
} from "./native/train-batch.ts";
export {
  createTrainer,
  type OptimizerOptions,
  type ScheduleOptions,
  type StepMetrics,
  Trainer,
  type TrainerOptions,
} from "./native/trainer.ts";
