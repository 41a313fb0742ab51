import { isDeepStrictEqual } from "node:util";
import type { Dtype } from "../addon/addon.ts";
import { SpaError } from "../errors.ts";
import {
  type Architecture,
  completeModelConfig,
  type ModelConfig,
  type RopeScaling,
} from "./model-config.ts";

type Json = Record<string, unknown>;

/** Hugging Face's names of what each architecture is called in `architectures`. */
const classNames: Record<Architecture, string> = {
  qwen2: "Qwen2ForCausalLM",
  qwen3: "Qwen3ForCausalLM",
  llama: "LlamaForCausalLM",
};

/** Hugging Face's names of a configuration's fields. */
const fieldNames: Record<string, string> = {
  vocabularySize: "vocab_size",
  hiddenSize: "hidden_size",
  intermediateSize: "intermediate_size",
  layers: "num_hidden_layers",
  heads: "num_attention_heads",
  keyValueHeads: "num_key_value_heads",
  headDimension: "head_dim",
  ropeTheta: "rope_theta",
  factor: "factor",
  lowFrequencyFactor: "low_freq_factor",
  highFrequencyFactor: "high_freq_factor",
  originalMaxPositions: "original_max_position_embeddings",
  rmsNormEpsilon: "rms_norm_eps",
  attentionBias: "attention_bias",
  mlpBias: "mlp_bias",
  tiedEmbeddings: "tie_word_embeddings",
  maxPositions: "max_position_embeddings",
  beginToken: "bos_token_id",
  endTokens: "eos_token_id",
  padToken: "pad_token_id",
};

/**
 * Fields that change what a model computes, in ways that this engine does not; each with the values that switch the
 * change off.
 */
const foreignFields: Record<string, readonly unknown[]> = {
  attention_dropout: [0],
  attn_logit_softcapping: [],
  auto_map: [],
  clip_qkv: [],
  dual_chunk_attention_config: [],
  final_logit_softcapping: [],
  is_causal: [true],
  logit_scale: [1],
  num_experts: [0],
  num_local_experts: [0],
  partial_rotary_factor: [1],
  pretraining_tp: [1],
  quantization_config: [],
  use_mrope: [false],
  use_sliding_window: [false],
};

/**
 * Reads the contents of a Hugging Face config.json, in the style of transformers 4 (`rope_theta`, `rope_scaling`,
 * `torch_dtype`) or 5 (`rope_parameters`, `dtype`). `file` is for messages.
 *
 * @throws SpaError `UNSUPPORTED` naming an architecture or field that the engine does not handle, `BAD_CHECKPOINT`
 * naming a field that is missing or wrong.
 */
export function parseModelConfig(fields: Json, file: string): ModelConfig {
  const architecture = readArchitecture(fields, file);
  refuseForeignFields(fields, file);
  const missing = [
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
  ];
  for (const name of missing) {
    if (fields[name] === undefined) throw new SpaError("BAD_CHECKPOINT", `${file} has no field ${name}`);
  }
  const optional = <T>(name: string) => (fields[name] ?? undefined) as T | undefined;
  const endToken = optional<number | number[]>("eos_token_id") ?? [];
  const rope = readRope(fields, file);
  try {
    const config = completeModelConfig({
      architecture,
      vocabularySize: fields.vocab_size as number,
      hiddenSize: fields.hidden_size as number,
      intermediateSize: fields.intermediate_size as number,
      layers: fields.num_hidden_layers as number,
      heads: fields.num_attention_heads as number,
      keyValueHeads: optional("num_key_value_heads"),
      headDimension: optional("head_dim") ?? (architecture === "qwen3" ? 128 : undefined),
      ropeTheta: rope.theta,
      ropeScaling: rope.scaling,
      rmsNormEpsilon: optional("rms_norm_eps"),
      attentionBias: architecture === "qwen2" ? false : optional("attention_bias"),
      mlpBias: architecture === "llama" ? optional("mlp_bias") : false,
      tiedEmbeddings: optional("tie_word_embeddings") ?? false,
      maxPositions: optional("max_position_embeddings"),
      beginToken: optional("bos_token_id"),
      endTokens: Array.isArray(endToken) ? endToken : [endToken],
      padToken: paddingToken(fields),
    });
    return { ...config, otherFields: otherFields(fields, config) };
  } catch (error) {
    if (!(error instanceof SpaError)) throw error;
    // In the words of the file.
    const message = error.message.replace(
      /config\.(?:ropeScaling\.)?(\w+)/g,
      (name, key) => fieldNames[key] ?? name,
    );
    throw new SpaError("BAD_CHECKPOINT", `${file} does not describe a model: ${message}`, { cause: error });
  }
}

/** Written in other words, or about the files and not the model. */
const restyledFields: ReadonlySet<string> = new Set([
  "_name_or_path",
  "dtype",
  "original_max_position_embeddings",
  "rope_parameters",
  "torch_dtype",
  "transformers_version",
]);

/** Fields that would not be written with these values anyway. */
function otherFields(fields: Json, config: ModelConfig): ModelConfig["otherFields"] {
  const known = shapeFields(config);
  const written = writeModelConfig(config, "float32");
  const others = Object.entries(fields).filter(
    ([name, value]) =>
      !restyledFields.has(name) && !(name in known) && !isDeepStrictEqual(value, written[name]),
  );
  return others.length === 0 ? null : Object.fromEntries(others);
}

/** Older Llama configurations pad with -1, that is: not at all. */
function paddingToken(fields: Json): number | null {
  const id = fields.pad_token_id;
  return id === undefined || id === -1 ? null : (id as number | null);
}

function isArchitecture(type: unknown): type is Architecture {
  return typeof type === "string" && Object.hasOwn(classNames, type);
}

function readArchitecture(fields: Json, file: string): Architecture {
  const type = fields.model_type;
  if (!isArchitecture(type)) {
    throw unsupported(file, "model_type", type, `supported: ${Object.keys(classNames).join(", ")}`);
  }
  const classes = fields.architectures;
  if (Array.isArray(classes) && classes.length > 0 && !classes.includes(classNames[type])) {
    throw unsupported(file, "architectures", classes, `supported: ${Object.values(classNames).join(", ")}`);
  }
  return type;
}

function refuseForeignFields(fields: Json, file: string): void {
  for (const [name, harmless] of Object.entries(foreignFields)) {
    const value = fields[name];
    if (value !== undefined && value !== null && !harmless.includes(value))
      throw unsupported(file, name, value);
  }
  if (fields.hidden_act !== undefined && fields.hidden_act !== "silu") {
    throw unsupported(file, "hidden_act", fields.hidden_act, 'only "silu" is supported');
  }
  const types = fields.layer_types;
  const other = Array.isArray(types) ? types.find((type) => type !== "full_attention") : types;
  if (other != null) throw unsupported(file, "layer_types", other, 'only "full_attention" is supported');
  // Qwen's own switch is use_sliding_window; elsewhere a window that is set is in use.
  if (fields.use_sliding_window === undefined && fields.sliding_window != null) {
    throw unsupported(file, "sliding_window", fields.sliding_window);
  }
}

interface Rope {
  theta: number | undefined;
  scaling: RopeScaling | null;
}

/** Readers differ on what counts where a file says something twice, so it must say the same. */
function readRope(fields: Json, file: string): Rope {
  const isEmpty = (value: unknown) => typeof value === "object" && Object.keys(value ?? {}).length === 0;
  const given = ["rope_parameters", "rope_scaling"].filter(
    (name) => fields[name] !== undefined && !isEmpty(fields[name]),
  );
  const [scaling, other] = given.map((name) => readScaling(fields, name, file));
  if (other !== undefined && !isDeepStrictEqual(other, scaling)) {
    throw unsupported(file, "rope_scaling", fields.rope_scaling, "rope_parameters says otherwise; keep one");
  }
  const thetas = [
    ["rope_theta", fields.rope_theta],
    ...given.map((name) => [`${name}.rope_theta`, (fields[name] as Json).rope_theta]),
  ].filter(([, value]) => value !== undefined && value !== null);
  const [first] = thetas;
  const differing = thetas.find(([, value]) => value !== first[1]);
  if (differing) {
    const said = `${differing[0]} is ${JSON.stringify(differing[1])}`;
    throw unsupported(
      file,
      first[0] as string,
      first[1],
      `${said}; keep the one that the model was trained with`,
    );
  }
  return { theta: first?.[1] as number | undefined, scaling: scaling ?? null };
}

function readScaling(fields: Json, name: string, file: string): RopeScaling | null {
  const parameters = fields[name] as Json;
  if (typeof parameters !== "object") throw unsupported(file, name, parameters);
  if (parameters.partial_rotary_factor !== undefined && parameters.partial_rotary_factor !== 1) {
    throw unsupported(file, `${name}.partial_rotary_factor`, parameters.partial_rotary_factor);
  }
  const { rope_type: kind = parameters.type ?? "default", type = kind } = parameters;
  if (kind !== "default" && kind !== "linear" && kind !== "llama3") {
    throw unsupported(file, `${name}.rope_type`, kind, 'supported: "default", "linear", "llama3"');
  }
  if (type !== kind) {
    throw unsupported(file, `${name}.type`, type, `${name}.rope_type is ${JSON.stringify(kind)}; keep one`);
  }
  // Parameters by kind of layer, for example.
  const nested = Object.entries(parameters).find(([, value]) => typeof value === "object" && value !== null);
  if (nested) throw unsupported(file, `${name}.${nested[0]}`, nested[1]);
  if (kind === "default") return null;
  if (kind === "linear") return { kind, factor: parameters.factor as number };
  const original = parameters.original_max_position_embeddings as number;
  const outside = fields.original_max_position_embeddings;
  if (outside != null && outside !== original) {
    const hint = `${name} says ${original}; keep one`;
    throw unsupported(file, "original_max_position_embeddings", outside, hint);
  }
  return {
    kind,
    factor: parameters.factor as number,
    lowFrequencyFactor: parameters.low_freq_factor as number,
    highFrequencyFactor: parameters.high_freq_factor as number,
    originalMaxPositions: original,
  };
}

function unsupported(file: string, field: string, value: unknown, hint?: string): SpaError {
  const text = JSON.stringify(value) ?? "nothing";
  const short = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return new SpaError(
    "UNSUPPORTED",
    `${file}: ${field} is ${short}, which this engine does not handle`,
    hint === undefined ? {} : { hint },
  );
}

/**
 * The contents of config.json for a model, in the older style of names, which every version of transformers reads.
 */
export function writeModelConfig(config: ModelConfig, dtype: Dtype): Json {
  const fields = {
    ...shapeFields(config),
    ...tokenFields(config),
    initializer_range: 0.02,
    torch_dtype: dtype,
    // The version whose names these are; without it transformers 5 suspects the tokenizer of a fault of other models.
    transformers_version: "4.51.0",
    use_cache: true,
    ...(config.architecture === "llama" ? {} : { use_sliding_window: false }),
    ...config.otherFields,
  };
  return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What the engine computes with. */
function shapeFields(config: ModelConfig): Json {
  const { architecture, ropeScaling } = config;
  return {
    architectures: [classNames[architecture]],
    ...(architecture === "qwen2" ? {} : { attention_bias: config.attentionBias }),
    attention_dropout: 0,
    head_dim: config.headDimension,
    hidden_act: "silu",
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.maxPositions,
    ...(architecture === "llama" ? { mlp_bias: config.mlpBias } : {}),
    model_type: architecture,
    num_attention_heads: config.heads,
    num_hidden_layers: config.layers,
    num_key_value_heads: config.keyValueHeads,
    rms_norm_eps: config.rmsNormEpsilon,
    rope_scaling: ropeScaling && ropeFields(ropeScaling),
    rope_theta: config.ropeTheta,
    tie_word_embeddings: config.tiedEmbeddings,
    vocab_size: config.vocabularySize,
  };
}

/**
 * The same model, whose saved files name further tokens that end replies. Where a model came with a generation_config.json,
 * which counts for readers, config.json keeps its own.
 */
export function withEndTokens(config: ModelConfig, tokens: Iterable<number>): ModelConfig {
  const endTokens = [...new Set([...config.endTokens, ...tokens])];
  if (endTokens.length === config.endTokens.length) return config;
  const { eos_token_id } = writeModelConfig(config, "float32");
  const { eos_token_id: _, ...otherFields } = config.otherFields ?? {};
  const kept = config.generation === null ? otherFields : { ...otherFields, eos_token_id };
  return { ...config, endTokens, otherFields: Object.keys(kept).length === 0 ? null : kept };
}

/** The contents of generation_config.json: that of the model's source, else what config.json says of tokens. */
export function writeGenerationConfig(config: ModelConfig): Json {
  const { generation } = config;
  const { eos_token_id } = tokenFields(config);
  if (generation === null) return { _from_model_config: true, ...tokenFields(config) };
  // A list of one stays a list.
  const isSame = isDeepStrictEqual([generation.eos_token_id].flat(), config.endTokens);
  return isSame ? generation : { ...generation, eos_token_id };
}

function tokenFields({ beginToken, endTokens, padToken }: ModelConfig): Json {
  const end = endTokens.length === 0 ? null : endTokens.length === 1 ? endTokens[0] : endTokens;
  return { bos_token_id: beginToken, eos_token_id: end, pad_token_id: padToken };
}

function ropeFields(scaling: RopeScaling): Json {
  if (scaling.kind === "linear") return { rope_type: "linear", factor: scaling.factor };
  return {
    rope_type: "llama3",
    factor: scaling.factor,
    low_freq_factor: scaling.lowFrequencyFactor,
    high_freq_factor: scaling.highFrequencyFactor,
    original_max_position_embeddings: scaling.originalMaxPositions,
  };
}
