/** The public API of spa-ai. */

export type { AddonInfo, Device, Dtype, Initialization, Moments } from "./addon/addon.ts";
export {
  type Advantages,
  type BiLevelGaeInput,
  biLevelGae,
  type GaeInput,
  gae,
  whiten,
} from "./addon/advantage.ts";
export type { RaggedBatch } from "./addon/arguments.ts";
export { addonInfo, type LibtorchLocation } from "./addon/loader.ts";
export type { Aggregation, KlEstimator } from "./addon/loss-fields.ts";
// A trained policy: asked, played with, judged.
export { type Act, Agent, type PlayLevelOptions, type SamplingOptions } from "./agent/agent.ts";
export { type EvaluatePolicyOptions, evaluatePolicy } from "./agent/evaluate-policy.ts";
export type { LoadAgentOptions } from "./agent/load.ts";
export {
  type SessionsOutcome,
  type TrainablePolicy,
  type TrainOnSessionsOptions,
  trainOnSessions,
} from "./agent/train-on-sessions.ts";
// Configuration, runs and stages: what the command line does.
export { loadConfig, overrideConfig } from "./config/load.ts";
export { presetNames } from "./config/presets.ts";
export { type Config, configSchema } from "./config/schema.ts";
export type { LongCall } from "./engine/call.ts";
export {
  type CreateModelOptions,
  Engine,
  type EngineOptions,
  type GemmOptions,
  type LoadModelOptions,
  type MemoryUse,
} from "./engine/engine.ts";
export {
  type AddAdapterOptions,
  Model,
  type SaveAdapterOptions,
  type ScoreBatch,
  type Scores,
  type SessionOptions,
} from "./engine/model.ts";
export { type Finish, type Generated, type GenerateOptions, Session } from "./engine/session.ts";
export type {
  Loss,
  PpoBatch,
  PpoLoss,
  SftBatch,
  SftLoss,
  TrainBatch,
  ValueLoss,
  ValueTargets,
} from "./engine/train-batch.ts";
export {
  createTrainer,
  type OptimizerOptions,
  type ScheduleOptions,
  Trainer,
  type TrainerOptions,
} from "./engine/trainer.ts";
export { SpaError, type SpaErrorCode } from "./errors.ts";
// Experiments: claims as arms by seeds.
export type { Arm, Experiment } from "./experiments/experiment.ts";
export { findExperiment } from "./experiments/find-experiment.ts";
export type { ExperimentResults } from "./experiments/results.ts";
export {
  type ExperimentOptions,
  type ExperimentOutcome,
  runExperiment,
} from "./experiments/run-experiment.ts";
export {
  type AdapterInput,
  type AdapterSettings,
  type AdapterSize,
  type AdapterTarget,
  adapterSize,
  adapterTargets,
} from "./formats/adapter-config.ts";
export type {
  Architecture,
  ModelConfig,
  ModelConfigInput,
  ModelShape,
  RopeScaling,
} from "./formats/model-config.ts";
export type { DownloadProgress } from "./hub/download-snapshot.ts";
export { type ResolvedModel, type ResolveOptions, resolveModel } from "./hub/resolve-model.ts";
export type { StepMetrics } from "./metrics/step-metrics.ts";
export {
  environmentFactory,
  type NewRunOptions,
  type RunOptions,
  type RunOutcome,
  resume,
  runStage,
  train,
  withRun,
} from "./pipeline.ts";
export { writeReport } from "./report/write-report.ts";
// Rollouts.
export { type CollectOptions, collect } from "./rollout/collector.ts";
export { EnvironmentPool } from "./rollout/environment-pool.ts";
export { drawLevel, type Level, LevelStream } from "./rollout/levels.ts";
export { type PackOptions, packBatch } from "./rollout/pack-batch.ts";
export type { Play } from "./rollout/player.ts";
export type { Trajectory, Turn } from "./rollout/trajectory.ts";
export { type Position, TurnProtocol } from "./rollout/turn-protocol.ts";
export { bestCheckpoint, type Checkpoint, latestCheckpoint } from "./run/checkpoint.ts";
export type { Evaluation } from "./run/evaluation.ts";
export type { MetricsRow } from "./run/metrics.ts";
export { createProgress, type Progress, type ProgressMode } from "./run/progress.ts";
export type { Results } from "./run/results.ts";
export { RunFolder } from "./run/run-folder.ts";
// Serving over OpenAI's HTTP API.
export { type RecordedSession, SessionLog } from "./run/session-log.ts";
// Sampling for many at a time.
export type { Sample, SampleRequest } from "./sampling/sample.ts";
export { Sampler, type SamplerFigures, type SamplerOptions } from "./sampling/sampler.ts";
export { type NamedAdapter, Policies, type PolicyOptions } from "./serve/policies.ts";
export { PolicyServer, type ServerOptions } from "./serve/server.ts";
export { SessionRecorder } from "./serve/sessions.ts";
export { pretrain } from "./stages/base/pretrain.ts";
export type { StageContext } from "./stages/context.ts";
export { estimateRun, type RunEstimate } from "./stages/estimate.ts";
export { evaluate } from "./stages/evaluate/evaluate.ts";
export { passAtK } from "./stages/evaluate/pass-rates.ts";
export { type Exported, type ExportOptions, exportModel } from "./stages/export.ts";
export { ppo } from "./stages/ppo/ppo.ts";
export { scheduleStages } from "./stages/schedule.ts";
export { selfPlay } from "./stages/self-play/self-play.ts";
export { sft } from "./stages/sft/sft.ts";
// Text: tokenizers and the turn protocol.
export type { ChatDelimiters } from "./text/chat-delimiters.ts";
export { type ChatFormat, chatFormatOf } from "./text/chat-format.ts";
export type { ContentEncoder } from "./text/content-encoder.ts";
export { lossMask, type MaskKind, maskKinds } from "./text/masks.ts";
export { nanoTokenizer, writeNanoTokenizer } from "./text/nano-tokenizer.ts";
export {
  type InvalidReason,
  invalidReasons,
  type ParsedTurn,
  type ParseOptions,
  parseTurn,
} from "./text/parse.ts";
export { Role, type RoleName, roleNames } from "./text/roles.ts";
export { assignRoles, type Span, spansOf } from "./text/spans.ts";
export { checkTokenizerFits, loadTokenizer, Tokenizer } from "./text/tokenizer.ts";
