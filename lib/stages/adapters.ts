import { isAbsolute, relative, resolve } from "node:path";
import type { Model } from "../engine/model.ts";
import { isAdapterFolder } from "../formats/adapter-folder.ts";
import { isModelFolder } from "../hub/resolve-model.ts";
import { seedOf } from "../rollout/seeded-generator.ts";
import { checkLargeFiles } from "../run/checkpoint.ts";
import { chatFormatOf } from "../text/chat-format.ts";
import { baseFolder, loadModel, type ModelContext, type StageContext } from "./context.ts";

/**
 * The model that a stage trains, from a folder: with `lora` set an adapter, which is a fresh one where the folder holds a
 * whole model.
 *
 * @param id the stage, which the fresh adapter's first numbers depend on
 */
export async function loadTrained(context: StageContext, folder: string, id: string): Promise<Model> {
  const model = await loadModel(context, folder);
  const { lora, seed } = context.config;
  if (lora === null || model.adapter) return model;
  try {
    return await model.addAdapter({ ...lora, seed: seedOf(seed, id, "adapter") });
  } finally {
    await model.dispose();
  }
}

/** Another model of a folder, on the same backbone where `model` is an adapter. */
export async function loadBeside(context: StageContext, model: Model, folder: string): Promise<Model> {
  if (!model.adapter) return loadModel(context, folder);
  const backbone = await model.backbone();
  if (!isAdapterFolder(folder)) return backbone;
  try {
    await checkLargeFiles(context.run, folder);
    return await backbone.loadAdapter(folder);
  } finally {
    await backbone.dispose();
  }
}

/**
 * Writes a run's model into a folder: a whole one as Hugging Face's files, which name every token that ends replies here,
 * an adapter as PEFT's, which have no place for that.
 */
export async function saveModel(context: ModelContext, model: Model, folder: string): Promise<void> {
  if (model.adapter) await model.saveAdapter(folder, baseOf(context, folder));
  else await model.save(folder, { endTokens: chatFormatOf(context.tokenizer).stopTokens });
}

/**
 * How an adapter's configuration names its base: a Hub model by id and revision, a checkpoint of the run by its path from
 * the adapter's folder (the run folder may then be moved), another folder or run's checkpoint by its absolute path.
 */
function baseOf(context: ModelContext, folder: string): { base: string; revision: string | null } {
  const { model } = context.config;
  if (model.kind === "stage") return { base: baseFolder(context), revision: null };
  if (model.kind === "nano") return { base: relative(resolve(folder), baseFolder(context)), revision: null };
  if (isAbsolute(model.path) || isModelFolder(model.path))
    return { base: resolve(model.path), revision: null };
  return { base: model.path, revision: model.revision };
}
