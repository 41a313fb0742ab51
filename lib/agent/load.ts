import { existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { loadConfig, overrideConfig } from "../config/load.ts";
import { defaultPreset } from "../config/presets.ts";
import type { Config } from "../config/schema.ts";
import type { Engine } from "../engine/engine.ts";
import type { Model } from "../engine/model.ts";
import { adapterBase, isAdapterFolder } from "../formats/adapter-folder.ts";
import { readModelConfig } from "../formats/model-folder.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import { type ResolvedConfig, withMemorySettings } from "../memory/resolve.ts";
import { openEngine } from "../pipeline.ts";
import type { Progress } from "../run/progress.ts";
import { RunFolder } from "../run/run-folder.ts";
import { requireTrusted } from "../run/trust.ts";
import { chooseCheckpoint } from "../stages/choose-checkpoint.ts";
import { loadModel } from "../stages/context.ts";
import { checkModel, prepareModel } from "../stages/prepare-model.ts";
import { scheduleStages } from "../stages/schedule.ts";
import { showDownload } from "../stages/show-download.ts";
import { nanoTokenizer } from "../text/nano-tokenizer.ts";
import type { TurnFormat } from "../text/tags.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";

export interface LoadAgentOptions {
  /** Of a run folder: the stage whose newest checkpoint is taken; by default spa/ppo, or the one that was saved last. */
  stage?: string;
  /** Of a model folder or Hub id: environment, prompts and limits. By default those of a preset for such models. */
  config?: Config;
  /** Settings over the configuration, as on the command line: `["engine.device=cpu"]`. */
  settings?: readonly string[];
  /** How turns are written; by default as the stage was trained, else in world-model format. */
  format?: TurnFormat;
  /** The engine to live on; by default one of the agent's own, which ends with it. */
  engine?: Engine;
  /** Branch, tag or commit of a Hub id. */
  revision?: string;
  /** Executes the environment's module that a run folder names, though this user may never have named it. */
  trust?: boolean;
  /** Stops loading. */
  signal?: AbortSignal | undefined;
  /** Told of a download. */
  progress?: Progress | undefined;
}

/** A policy and what it is to be asked with. */
export interface LoadedPolicy {
  /** A name for it: that of its folder, or its Hub id. */
  name: string;
  /** Where its weights come from: a checkpoint's, a model's or an adapter's folder. */
  folder: string;
  /** The run that it is of; null for a model's folder or Hub id. */
  run: RunFolder | null;
  config: ResolvedConfig;
  format: TurnFormat;
  tokenizer: Tokenizer;
  engine: Engine;
  /** The engine was made for it. */
  ownsEngine: boolean;
  model: Model;
}

/** Where a policy's files are, and with which settings it is asked. */
type LocatedPolicy = Omit<LoadedPolicy, "engine" | "ownsEngine" | "model"> & {
  load: (engine: Engine) => Promise<Model>;
};

/** Whether `source` is a run folder. */
function isRunFolder(source: string): boolean {
  return existsSync(join(source, "run.json"));
}

/**
 * Loads a policy from a run folder, a model's or adapter's folder, or the Hub.
 *
 * @throws SpaError BAD_CHECKPOINT, UNKNOWN_NAME, UNTRUSTED, BAD_TOKENIZER, BAD_CONFIG, HUB_NOT_FOUND, OUT_OF_MEMORY, …
 */
export async function loadPolicy(source: string, options: LoadAgentOptions): Promise<LoadedPolicy> {
  const { load, ...policy } = isRunFolder(source)
    ? await locateRun(source, options)
    : await locateModel(source, options);
  const engine = options.engine ?? (await openEngine(policy.config));
  const ownsEngine = options.engine === undefined;
  try {
    return { ...policy, engine, ownsEngine, model: await load(engine) };
  } catch (error) {
    if (ownsEngine) await engine.dispose();
    throw error;
  }
}

async function locateRun(source: string, options: LoadAgentOptions): Promise<LocatedPolicy> {
  const run = RunFolder.open(source);
  if (!options.trust) requireTrusted(run.config.environment, run.path);
  const { folder, stage } = chooseCheckpoint(run, options.stage);
  const prepared = await prepareModel(overrideConfig(run.config, options.settings ?? []), options);
  const { tokenizer, folder: pretrainedFolder } = prepared;
  const config = withMemorySettings(prepared.config);
  const trained = scheduleStages(config).find(({ id }) => id === stage)?.format;
  return {
    name: run.name,
    ...{ folder, run, config, tokenizer },
    format: options.format ?? trained ?? "world-model",
    load: (engine) =>
      loadModel({ run, config, engine, tokenizer, pretrainedFolder, signal: options.signal }, folder),
  };
}

async function locateModel(source: string, options: LoadAgentOptions): Promise<LocatedPolicy> {
  const { signal, progress, revision } = options;
  const { folder } = await resolveModel(source, {
    ...{ revision, signal },
    ...(progress && showDownload(progress, source)),
  });
  const shape = await readModelConfig(isAdapterFolder(folder) ? await adapterBase(folder) : folder);
  const given = options.config ?? defaultsFor(loadTokenizer(folder), shape.maxPositions);
  const config = withMemorySettings(overrideConfig(given, options.settings ?? []));
  const { dtype } = config.engine;
  return {
    name: existsSync(source) ? basename(resolve(source)) : source,
    ...{ folder, run: null, config, tokenizer: checkModel(config, shape, folder) },
    format: options.format ?? "world-model",
    load: (engine) => engine.loadModel(folder, { dtype, signal }),
  };
}

/** The preset whose prompts a model without a run is asked with: the nano's for its vocabulary, else one for LLMs. */
function defaultsFor(tokenizer: Tokenizer, maxPositions: number): Config {
  const isNano = Buffer.from(tokenizer.file("tokenizer.json")!).equals(
    nanoTokenizer().file("tokenizer.json")!,
  );
  if (isNano) return loadConfig(defaultPreset, []);
  const config = loadConfig("qwen2.5-0.5b-frozen-lake", []);
  const maxTokens = Math.min(config.protocol.maxTokens, maxPositions);
  return overrideConfig(config, [`protocol.maxTokens=${maxTokens}`]);
}
