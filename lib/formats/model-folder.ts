import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Dtype, NativeTensorInfo, NativeTensorSource } from "../addon/addon.ts";
import { loadAddon } from "../addon/loader.ts";
import { SpaError } from "../errors.ts";
import { replaceFiles, writeSynced } from "../files/atomic-file.ts";
import { fileError } from "../files/file-error.ts";
import { makeFolders } from "../files/folders.ts";
import { readJsonObject } from "../files/json-file.ts";
import { parseModelConfig, writeGenerationConfig, writeModelConfig } from "./hugging-face-config.ts";
import { type ModelConfig, nativeModelConfig } from "./model-config.ts";
import {
  type ExpectedTensor,
  matchTensors,
  readFolderTensors,
  type Shard,
  safetensorsHeader,
  shardIndex,
  shardsOf,
} from "./safetensors.ts";

/** A Hugging Face model folder: config.json, generation_config.json, model.safetensors (or shards and their index). */
export interface ModelFolder {
  config: ModelConfig;
  tensors: NativeTensorSource[];
}

/** In PEFT's folders, what config.json is in a model's. */
export const adapterConfigFile = "adapter_config.json";

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
  if (config.layers > stored.size) {
    const message = `${folder}: config.json says ${config.layers} layers, the files hold ${stored.size} tensors`;
    throw new SpaError("BAD_CHECKPOINT", message, { hint: "the weights do not belong to this config.json" });
  }
  const expected: ExpectedTensor[] = loadAddon().parameters(nativeModelConfig(config), valueHead);
  if (config.tiedEmbeddings) {
    const { vocabularySize, hiddenSize } = config;
    expected.push({ name: "lm_head.weight", shape: [vocabularySize, hiddenSize], optional: true });
  }
  return { config, tensors: matchTensors(stored, expected, folder, (name) => rotaryBuffer.test(name)) };
}

/** The shape of a folder's model: config.json, with what generation_config.json adds. @throws as {@link readModelFolder} */
export async function readModelConfig(folder: string): Promise<ModelConfig> {
  const file = join(folder, "config.json");
  const hint = existsSync(join(folder, adapterConfigFile))
    ? `${folder} holds an adapter: load the model that it belongs to, or merge it into that first (PEFT: merge_and_unload)`
    : "a model folder holds Hugging Face files: config.json and model.safetensors";
  const config = parseModelConfig(await readJsonObject(file, hint), file);
  const generationFile = join(folder, "generation_config.json");
  const generation = existsSync(generationFile) ? await readJsonObject(generationFile, hint) : {};
  const endTokens = readEndTokens(generation, generationFile, config);
  // A file that was made of config.json says nothing of its own.
  const isOwn = Object.keys(generation).length > 0 && generation._from_model_config !== true;
  // config.json keeps its own end tokens.
  const { eos_token_id } = writeModelConfig(config, "float32");
  const otherFields = isDeepStrictEqual(endTokens, config.endTokens)
    ? config.otherFields
    : { ...config.otherFields, eos_token_id };
  return { ...config, endTokens, generation: isOwn ? generation : null, otherFields };
}

/** generation_config.json, where there is one, knows better which tokens end a reply. */
function readEndTokens(generation: Record<string, unknown>, file: string, config: ModelConfig): number[] {
  const ids = generation.eos_token_id ?? config.endTokens;
  const list = Array.isArray(ids) ? ids : [ids];
  for (const id of list) {
    if (!Number.isInteger(id) || id < 0 || id >= config.vocabularySize) {
      const message = `${file}: eos_token_id ${JSON.stringify(id)} is outside the vocabulary of ${config.vocabularySize}`;
      throw new SpaError("BAD_CHECKPOINT", message);
    }
  }
  return list;
}

/** Writes the tensors of a shard under their header into a file. */
export type WriteShard = (file: string, header: Uint8Array, shard: Shard) => Promise<void>;

/**
 * Writes a model folder: config.json, generation_config.json, and model.safetensors or, for more than `maxShardBytes`,
 * shards with their index. Other files in it (a tokenizer) stay, weights of an earlier save do not; each file is replaced
 * whole. `writeShard` is called for all shards before the first wait, so that they are of the same moment.
 */
export async function writeModelFolder(
  folder: string,
  model: { config: ModelConfig; dtype: Dtype; tensors: NativeTensorInfo[] },
  maxShardBytes: number,
  writeShard: WriteShard,
): Promise<void> {
  makeFolder(folder);
  refuseBeside(folder, adapterConfigFile, "an adapter");
  const shards = shardsOf(model.tensors, maxShardBytes);
  const index = shardIndex(shards);
  const texts: [name: string, content: object][] = [
    ...(index ? [["model.safetensors.index.json", index] as [string, object]] : []),
    ["config.json", writeModelConfig(model.config, model.dtype)],
    ["generation_config.json", writeGenerationConfig(model.config)],
  ];
  const names = [...shards.map(({ name }) => name), ...texts.map(([name]) => name)];
  await replaceFiles(
    names.map((name) => join(folder, name)),
    async (asides) => {
      const written = shards.map((shard, k) =>
        writeShard(asides[k], safetensorsHeader(shard.tensors, { format: "pt" }), shard),
      );
      // All of them end before the files aside are cleared away.
      for (const result of await Promise.allSettled(written))
        if (result.status === "rejected") throw result.reason;
      for (const [k, [, content]] of texts.entries()) {
        await writeSynced(asides[shards.length + k], `${JSON.stringify(content, null, 2)}\n`);
      }
    },
  );
  await removeOtherWeights(folder, new Set(names));
}

const weightsName = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/;

/** Removes the weights that an earlier save left; the index before the shards that it names. */
async function removeOtherWeights(folder: string, kept: ReadonlySet<string>): Promise<void> {
  const others = (await readdir(folder)).filter((name) => weightsName.test(name) && !kept.has(name));
  others.sort((a, b) => Number(b.endsWith(".json")) - Number(a.endsWith(".json")));
  for (const name of others) await rm(join(folder, name));
}

/** Creates a folder (and those above it) for files of this package. */
export function makeFolder(folder: string): void {
  try {
    makeFolders(folder);
  } catch (error) {
    throw fileError(error, folder);
  }
}

/** A folder holds a whole model or an adapter: of both at once readers open different things. */
export function refuseBeside(folder: string, file: string, what: string): void {
  if (!existsSync(join(folder, file))) return;
  throw new SpaError("BAD_ARGUMENT", `${folder} holds ${what} (${file}) already`, {
    hint: "save into another folder",
  });
}
