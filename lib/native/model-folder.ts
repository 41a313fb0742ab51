import { mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileError, replaceFiles, writeSynced } from "../atomic-file.ts";
import { SpaError } from "../errors.ts";
import type { Dtype, NativeTensorInfo, NativeTensorSource } from "./addon.ts";
import { parseModelConfig, writeGenerationConfig, writeModelConfig } from "./hugging-face-config.ts";
import { loadAddon } from "./loader.ts";
import { type ModelConfig, nativeModelConfig } from "./model-config.ts";
import { type ExpectedTensor, matchTensors, readFolderTensors, safetensorsHeader } from "./safetensors.ts";

/** A Hugging Face model folder: config.json, generation_config.json, model.safetensors (or shards and their index). */
export interface ModelFolder {
  config: ModelConfig;
  tensors: NativeTensorSource[];
}

/** Buffers that older checkpoints hold beside the weights. */
const rotaryBuffer = /\.rotary_emb\.inv_freq$/;

const valueHeadNames = ["value_head.weight", "value_head.bias"];

/**
 * Reads and checks everything in a model folder but the weights' numbers.
 *
 * @throws SpaError `BAD_CHECKPOINT`, `UNSUPPORTED`.
 */
export async function readModelFolder(folder: string): Promise<ModelFolder> {
  const config = await readModelConfig(folder);
  const stored = await readFolderTensors(folder);
  const valueHead = valueHeadNames.some((name) => stored.has(name));
  const expected: ExpectedTensor[] = loadAddon().parameters(nativeModelConfig(config), valueHead);
  const ignored = (name: string) =>
    rotaryBuffer.test(name) || (config.tiedEmbeddings && name === "lm_head.weight");
  return { config, tensors: matchTensors(stored, expected, folder, ignored) };
}

/** The shape of a folder's model: config.json, with what generation_config.json adds. @throws as {@link readModelFolder} */
export async function readModelConfig(folder: string): Promise<ModelConfig> {
  const file = join(folder, "config.json");
  const config = parseModelConfig(await readJson(file), file);
  return { ...config, endTokens: await readEndTokens(join(folder, "generation_config.json"), config) };
}

/** generation_config.json, where there is one, knows better which tokens end a reply. */
async function readEndTokens(file: string, config: ModelConfig): Promise<number[]> {
  const json = await readJson(file, {});
  const ids = (json as { eos_token_id?: unknown }).eos_token_id ?? config.endTokens;
  const list = Array.isArray(ids) ? ids : [ids];
  for (const id of list) {
    if (!Number.isInteger(id) || id < 0 || id >= config.vocabularySize) {
      const message = `${file}: eos_token_id ${JSON.stringify(id)} is outside the vocabulary of ${config.vocabularySize}`;
      throw new SpaError("BAD_CHECKPOINT", message);
    }
  }
  return list;
}

async function readJson(file: string, absent?: object): Promise<object> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" && absent) return absent;
    throw new SpaError("BAD_CHECKPOINT", `${file} could not be read: ${(error as Error).message}`, {
      hint: "a model folder holds Hugging Face files: config.json and model.safetensors",
      cause: error,
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new SpaError("BAD_CHECKPOINT", `${file} is not JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (typeof json !== "object" || json === null)
    throw new SpaError("BAD_CHECKPOINT", `${file} must hold an object`);
  return json;
}

/**
 * Writes a model folder. Other files in it (a tokenizer) stay; each file is replaced whole. `writeWeights` writes the
 * safetensors file, given its header; it is called before the first wait.
 */
export async function writeModelFolder(
  folder: string,
  model: { config: ModelConfig; dtype: Dtype; tensors: NativeTensorInfo[] },
  writeWeights: (file: string, header: Uint8Array) => Promise<void>,
): Promise<void> {
  makeFolder(folder);
  const files = ["model.safetensors", "config.json", "generation_config.json"].map((name) =>
    join(folder, name),
  );
  await replaceFiles(files, async ([weights, config, generation]) => {
    await writeWeights(weights, safetensorsHeader(model.tensors, { format: "pt" }));
    await writeSynced(config, `${JSON.stringify(writeModelConfig(model.config, model.dtype), null, 2)}\n`);
    await writeSynced(generation, `${JSON.stringify(writeGenerationConfig(model.config), null, 2)}\n`);
  });
}

/** Creates a folder (and those above it) for files of this package. */
export function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    const known = fileError(error, folder);
    if (known instanceof SpaError) throw known;
    throw new SpaError(
      "BAD_ARGUMENT",
      `the folder ${folder} cannot be created: ${(error as Error).message}`,
      {
        hint: `check that ${dirname(folder)} is a folder in which you may write`,
        cause: error,
      },
    );
  }
}
