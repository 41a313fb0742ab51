import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { NativeTensorInfo, NativeTensorSource } from "../addon/addon.ts";
import { loadAddon } from "../addon/loader.ts";
import { SpaError } from "../errors.ts";
import { replaceFiles, writeSynced } from "../files/atomic-file.ts";
import { readJsonObject } from "../files/json-file.ts";
import {
  type AdapterSettings,
  type AdapterTarget,
  adapterTargets,
  completeAdapter,
  nativeAdapter,
} from "./adapter-config.ts";
import { checkAdapterFits } from "./adapter-fit.ts";
import { type ModelConfig, nativeModelConfig } from "./model-config.ts";
import { adapterConfigFile, makeFolder, refuseBeside } from "./model-folder.ts";
import { matchTensors, readSafetensorsHeader, safetensorsHeader } from "./safetensors.ts";

// Adapters in PEFT's files (https://huggingface.co/docs/peft, "PEFT checkpoint format"): adapter_config.json and
// adapter_model.safetensors; a value head stands in a file of its own beside them, which PEFT does not look at.

const weightsFile = "adapter_model.safetensors";
const valueHeadFile = "value_head.safetensors";

type Json = Record<string, unknown>;

/** What adapter_config.json says of an adapter and where it belongs. */
interface AdapterDescription {
  settings: AdapterSettings;
  /** The base model's Hub id or folder, as it stands in the file. */
  base: string | null;
  /** The base model's revision on the Hub. */
  revision: string | null;
}

/** Fields that are read, or that say nothing about what an adapter computes. */
const knownFields: ReadonlySet<string> = new Set([
  "r",
  "lora_alpha",
  "lora_dropout",
  "target_modules",
  "use_rslora",
  "init_lora_weights",
  "peft_type",
  "task_type",
  "base_model_name_or_path",
  "revision",
  "inference_mode",
  "peft_version",
  "auto_mapping",
  "eva_config",
  "megatron_core",
  "qalora_group_size",
  "runtime_config",
]);

/** Fields whose empty lists and objects say nothing; elsewhere they may switch a feature on with its defaults. */
const offWhenEmpty: ReadonlySet<string> = new Set([
  "alpha_pattern",
  "exclude_modules",
  "layer_replication",
  "layers_pattern",
  "layers_to_transform",
  "loftq_config",
  "modules_to_save",
  "rank_pattern",
  "target_parameters",
]);

/** Initialisations that leave the base model's weights as they are; the others change them. */
const harmlessInitializations: readonly unknown[] = [
  undefined,
  null,
  true,
  false,
  "gaussian",
  "orthogonal",
  "eva",
];

function badAdapter(file: string, message: string, hint?: string): SpaError {
  return new SpaError("BAD_ADAPTER", `${file}: ${message}`, hint === undefined ? {} : { hint });
}

/**
 * Whether a folder holds an adapter rather than a whole model.
 *
 * @throws SpaError `BAD_CHECKPOINT` for a folder with both: transformers opens it as the adapter's base with the adapter.
 */
export function isAdapterFolder(folder: string): boolean {
  if (!existsSync(join(folder, adapterConfigFile))) return false;
  if (!existsSync(join(folder, "config.json"))) return true;
  throw new SpaError(
    "BAD_CHECKPOINT",
    `${folder} holds a whole model and an adapter (${adapterConfigFile})`,
    {
      hint: "give each a folder of its own, or (await engine.loadModel(base)).loadAdapter(folder)",
    },
  );
}

/**
 * The folder of the base model that an adapter's configuration names. Relative paths count from the adapter's folder.
 *
 * @throws SpaError `BAD_CHECKPOINT`; `BAD_ADAPTER` when no such folder is there.
 */
export async function adapterBase(folder: string): Promise<string> {
  const { base } = await readAdapterConfig(folder);
  const found = base === null ? undefined : resolve(folder, base);
  if (found !== undefined && existsSync(join(found, "config.json"))) return found;
  const file = join(folder, adapterConfigFile);
  const named =
    base === null ? "names no base model" : `names the base model ${base}, which is no folder here`;
  throw badAdapter(
    file,
    named,
    "load the base model, then (await engine.loadModel(base)).loadAdapter(folder)",
  );
}

/**
 * Reads adapter_config.json.
 *
 * @throws SpaError `BAD_CHECKPOINT` (missing, not JSON), `BAD_ADAPTER` naming a feature of PEFT that the engine lacks, or
 * a field that is missing or wrong.
 */
async function readAdapterConfig(folder: string): Promise<AdapterDescription> {
  const file = join(folder, adapterConfigFile);
  const fields = await readJsonObject(
    file,
    `an adapter's folder holds ${adapterConfigFile} and ${weightsFile}`,
  );
  refuseForeignFeatures(fields, file);
  const base = fields.base_model_name_or_path ?? null;
  const revision = fields.revision ?? null;
  if (base !== null && typeof base !== "string")
    throw badAdapter(file, "base_model_name_or_path must be a text");
  if (revision !== null && typeof revision !== "string") throw badAdapter(file, "revision must be a text");
  try {
    const settings = completeAdapter({
      rank: fields.r as number,
      alpha: fields.lora_alpha as number,
      dropout: (fields.lora_dropout ?? 0) as number,
      targets: readTargets(fields.target_modules, file),
      rankStabilized: (fields.use_rslora ?? false) as boolean,
    });
    return { settings, base, revision };
  } catch (error) {
    if (!(error instanceof SpaError) || error.code !== "BAD_ARGUMENT") throw error;
    throw badAdapter(file, `it does not describe an adapter: ${error.message}`);
  }
}

/** Whatever is switched on and not known here changes what the adapter computes. */
function refuseForeignFeatures(fields: Json, file: string): void {
  if (fields.peft_type !== "LORA") {
    throw badAdapter(file, `peft_type is ${JSON.stringify(fields.peft_type)}, only "LORA" is supported`);
  }
  if ((fields.task_type ?? "CAUSAL_LM") !== "CAUSAL_LM") {
    throw badAdapter(file, `task_type is ${JSON.stringify(fields.task_type)}, only "CAUSAL_LM" is supported`);
  }
  const hint = "train it without this feature, or merge it into its base model with PEFT and load that";
  for (const [name, value] of Object.entries(fields)) {
    if (knownFields.has(name) || isOff(name, value) || (name === "bias" && value === "none")) continue;
    throw badAdapter(file, `${name} is ${JSON.stringify(value)}, which this engine does not handle`, hint);
  }
  const initialization = fields.init_lora_weights;
  if (!harmlessInitializations.includes(initialization)) {
    const value = JSON.stringify(initialization);
    throw badAdapter(file, `init_lora_weights is ${value}, which changes the base model's weights`, hint);
  }
}

function isOff(name: string, value: unknown): boolean {
  if (value === null || value === undefined || value === false) return true;
  return offWhenEmpty.has(name) && typeof value === "object" && Object.keys(value).length === 0;
}

function readTargets(value: unknown, file: string): AdapterTarget[] {
  if (value === "all-linear") return [...adapterTargets];
  if (!Array.isArray(value)) {
    const text = JSON.stringify(value);
    throw badAdapter(
      file,
      `target_modules is ${text}`,
      "name the projections in a list; patterns are not read",
    );
  }
  return value.map((name) => {
    const found = adapterTargets.find(
      (target) => name === target || name === `self_attn.${target}` || name === `mlp.${target}`,
    );
    if (found) return found;
    const message = `target_modules names ${JSON.stringify(name)}, which adapters cannot change here`;
    throw badAdapter(file, message, `supported: ${adapterTargets.join(", ")}`);
  });
}

/**
 * Reads and checks an adapter's files for a model, all but the weights' numbers.
 *
 * @throws SpaError `BAD_CHECKPOINT` (missing, truncated or foreign files), `BAD_ADAPTER` naming the first thing in which
 * the adapter does not fit the model.
 */
export async function readAdapterFolder(
  folder: string,
  config: ModelConfig,
): Promise<{ settings: AdapterSettings; tensors: NativeTensorSource[] }> {
  const { settings } = await readAdapterConfig(folder);
  const file = join(folder, weightsFile);
  const { tensors: stored } = await readSafetensorsHeader(file);
  const expected = loadAddon().adapterParameters(nativeModelConfig(config), nativeAdapter(settings));
  checkAdapterFits(file, stored, expected);
  const tensors = matchTensors(stored, expected, file);
  const headFile = join(folder, valueHeadFile);
  if (!existsSync(headFile)) return { settings, tensors };
  const head = (await readSafetensorsHeader(headFile)).tensors;
  const shapes = [
    { name: "value_head.weight", shape: [1, config.hiddenSize] },
    { name: "value_head.bias", shape: [1] },
  ];
  checkAdapterFits(headFile, head, shapes);
  return { settings, tensors: [...tensors, ...matchTensors(head, shapes, headFile)] };
}

/** An adapter that is written. */
export interface AdapterContent extends AdapterDescription {
  /** In file order, value head last. */
  tensors: readonly NativeTensorInfo[];
}

/** Writes a part of a model's tensors to a file whose header is given. */
type WritePart = (file: string, header: Uint8Array, part: { first: number; count: number }) => Promise<void>;

/**
 * Writes an adapter's files. Other files in the folder stay; each file is replaced whole. `writeTensors` is first called
 * before the first wait.
 */
export async function writeAdapterFolder(
  folder: string,
  content: AdapterContent,
  writeTensors: WritePart,
): Promise<void> {
  makeFolder(folder);
  refuseBeside(folder, "config.json", "a whole model");
  const { tensors } = content;
  const count = tensors.filter(({ name }) => !name.startsWith("value_head.")).length;
  const hasHead = count < tensors.length;
  const names = [weightsFile, adapterConfigFile, ...(hasHead ? [valueHeadFile] : [])];
  const write = (file: string, first: number, end: number) =>
    writeTensors(file, safetensorsHeader(tensors.slice(first, end), { format: "pt" }), {
      first,
      count: end - first,
    });
  await replaceFiles(
    names.map((name) => join(folder, name)),
    async ([weights, config, valueHead]) => {
      const parts = [write(weights, 0, count), ...(hasHead ? [write(valueHead, count, tensors.length)] : [])];
      await settle(parts);
      await writeSynced(config, `${JSON.stringify(configFields(content), null, 2)}\n`);
    },
  );
  if (!hasHead) await rm(join(folder, valueHeadFile), { force: true });
}

/** Waits for all, so that no write goes on after a failure of another. */
async function settle(writes: Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(writes)) {
    if (result.status === "rejected") throw result.reason;
  }
}

/** The contents of adapter_config.json. */
function configFields({ settings, base, revision }: AdapterDescription): Json {
  return {
    alpha_pattern: {},
    auto_mapping: null,
    base_model_name_or_path: base,
    bias: "none",
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layer_replication: null,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: settings.alpha,
    lora_dropout: settings.dropout,
    modules_to_save: null,
    peft_type: "LORA",
    r: settings.rank,
    rank_pattern: {},
    revision,
    target_modules: settings.targets,
    task_type: "CAUSAL_LM",
    use_dora: false,
    use_rslora: settings.rankStabilized,
  };
}
