import { existsSync, readdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Engine } from "../engine/engine.ts";
import type { Model } from "../engine/model.ts";
import { heedSignal, SpaError } from "../errors.ts";
import { asidePath, commitFolder, removeLeftover } from "../files/atomic-file.ts";
import { fileError } from "../files/file-error.ts";
import { makeFolders } from "../files/folders.ts";
import { withMemorySettings } from "../memory/resolve.ts";
import type { Progress } from "../run/progress.ts";
import { RunFolder } from "../run/run-folder.ts";
import { chatFormatOf } from "../text/chat-format.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { saveModel } from "./adapters.ts";
import { chooseCheckpoint } from "./choose-checkpoint.ts";
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
  const target = newFolder(options.to);
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
  await writeFolder(target, async (aside) => {
    if (options.adapter) await saveAdapter(context, model, aside);
    else await saveWhole(model, tokenizer, aside);
    tokenizer.save(aside);
  });
  return { folder: target, stage: checkpoint.stage, step: checkpoint.step };
}

/** The absolute path of a folder that is to be written. @throws SpaError BAD_ARGUMENT where it is taken */
function newFolder(to: string): string {
  const target = resolve(to);
  if (existsSync(target) && readdirSync(target).length > 0) {
    throw new SpaError("BAD_ARGUMENT", `${target} is not empty`, { hint: "export into a new folder" });
  }
  return target;
}

/** Writes a folder aside and gives it its name when it is whole. */
async function writeFolder(target: string, write: (aside: string) => Promise<void>): Promise<void> {
  const aside = asidePath(target);
  try {
    makeFolders(dirname(target));
    await write(aside);
    await commitFolder(aside, target);
  } catch (error) {
    removeLeftover(aside);
    throw fileError(error, target);
  }
}

/**
 * Writes a model and its tokenizer as a folder that transformers and vLLM open, its adapter merged, without value head.
 *
 * @throws SpaError BAD_ARGUMENT where the folder is taken, DISK_FULL, FILE_FAILED; nothing is left in it then
 */
export async function saveModelFolder(model: Model, tokenizer: Tokenizer, to: string): Promise<string> {
  const target = newFolder(to);
  await writeFolder(target, async (aside) => {
    await saveWhole(model, tokenizer, aside);
    tokenizer.save(aside);
  });
  return target;
}

async function saveWhole(model: Model, tokenizer: Tokenizer, folder: string): Promise<void> {
  await using whole = model.adapter ? await model.merge() : await model.clone({ valueHead: false });
  const endTokens = chatFormatOf(tokenizer).stopTokens;
  if (!whole.hasValueHead) return await whole.save(folder, { endTokens });
  await using policy = await whole.clone({ valueHead: false });
  await policy.save(folder, { endTokens });
}

async function saveAdapter(context: ModelContext, model: Model, folder: string): Promise<void> {
  await using policy = await model.clone({ valueHead: false });
  await saveModel(context, policy, folder);
}
