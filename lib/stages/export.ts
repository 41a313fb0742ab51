import { existsSync, readdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Engine } from "../engine/engine.ts";
import type { Model } from "../engine/model.ts";
import { heedSignal, SpaError } from "../errors.ts";
import { asidePath, commitFolder, removeLeftover } from "../files/atomic-file.ts";
import { fileError } from "../files/file-error.ts";
import { makeFolders } from "../files/folders.ts";
import { withMemorySettings } from "../memory/resolve.ts";
import { didYouMean } from "../nearest-name.ts";
import { type Checkpoint, latestCheckpoint } from "../run/checkpoint.ts";
import type { Progress } from "../run/progress.ts";
import { RunFolder } from "../run/run-folder.ts";
import { saveModel } from "./adapters.ts";
import { loadModel, type ModelContext } from "./context.ts";
import { prepareModel } from "./prepare-model.ts";

export interface ExportOptions {
  /** The folder to write; it must not exist, or be empty. */
  to: string;
  /** The stage whose newest checkpoint is exported; by default spa/ppo, or the one that was saved last. */
  stage?: string | undefined;
  /** Writes the adapter alone, in PEFT's files. */
  adapter?: boolean | undefined;
  /** Stops before anything is written. */
  signal?: AbortSignal | undefined;
  /** Told of the download, where the base model has to be fetched. */
  progress?: Progress | undefined;
}

/** What {@link exportModel} has written. */
export interface Exported {
  folder: string;
  stage: string;
  step: number;
}

/**
 * Writes a run's model as a folder that transformers and vLLM open: config.json, generation_config.json, weights,
 * tokenizer. An adapter is merged into its base model, a value head left out. Runs on the CPU.
 *
 * @throws SpaError BAD_ARGUMENT (the folder is taken; no adapter to export), UNKNOWN_NAME for a stage without checkpoint,
 * BAD_CHECKPOINT, DISK_FULL; nothing is left in the folder then
 */
export async function exportModel(runFolder: string, options: ExportOptions): Promise<Exported> {
  const target = resolve(options.to);
  if (existsSync(target) && readdirSync(target).length > 0) {
    throw new SpaError("BAD_ARGUMENT", `${target} is not empty`, { hint: "export into a new folder" });
  }
  const run = RunFolder.open(runFolder);
  const checkpoint = chooseCheckpoint(run, options.stage);
  const { config, folder: pretrainedFolder, tokenizer } = await prepareModel(run.config, options);
  const { threads } = config.engine;
  await using engine = await Engine.create({ device: "cpu", ...(threads !== null && { threads }) });
  const context: ModelContext = {
    run,
    config: withMemorySettings(config),
    engine,
    tokenizer,
    pretrainedFolder,
    signal: options.signal,
  };
  await using model = await loadModel(context, checkpoint.folder);
  if (options.adapter && !model.adapter) {
    throw new SpaError("BAD_ARGUMENT", `${checkpoint.folder} is a whole model, not an adapter`, {
      hint: "leave --adapter out",
    });
  }
  await heedSignal(options.signal);
  const aside = asidePath(target);
  try {
    makeFolders(dirname(target));
    if (options.adapter) await saveAdapter(context, model, aside);
    else await saveWhole(context, model, aside);
    tokenizer.save(aside);
    await commitFolder(aside, target);
  } catch (error) {
    removeLeftover(aside);
    throw fileError(error, target);
  }
  return { folder: target, stage: checkpoint.stage, step: checkpoint.step };
}

async function saveWhole(context: ModelContext, model: Model, folder: string): Promise<void> {
  await using whole = model.adapter ? await model.merge() : await model.clone({ valueHead: false });
  if (!whole.hasValueHead) return await saveModel(context, whole, folder);
  await using policy = await whole.clone({ valueHead: false });
  await saveModel(context, policy, folder);
}

async function saveAdapter(context: ModelContext, model: Model, folder: string): Promise<void> {
  await using policy = await model.clone({ valueHead: false });
  await saveModel(context, policy, folder);
}

function chooseCheckpoint(run: RunFolder, stage: string | undefined): Checkpoint {
  const stages = [...new Set(run.checkpoints.map((record) => record.stage))];
  const chosen = stage ?? (stages.includes("spa/ppo") ? "spa/ppo" : stages.at(-1));
  const checkpoint = chosen === undefined ? undefined : latestCheckpoint(run, chosen);
  if (checkpoint) return checkpoint;
  const what =
    chosen === undefined
      ? "no checkpoint yet"
      : `no checkpoint of a stage "${chosen}"${didYouMean(chosen, stages)}`;
  throw new SpaError("UNKNOWN_NAME", `${run.path} has ${what}`, {
    hint: stages.length > 0 ? `stages with checkpoints: ${stages.join(", ")}` : "train first: spa train",
  });
}
