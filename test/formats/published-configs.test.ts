// The configurations that real models come with: what they mean, and that another one is refused by name.
import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import {
  parseModelConfig,
  writeGenerationConfig,
  writeModelConfig,
} from "../../lib/formats/hugging-face-config.ts";
import { completeModelConfig, type ModelConfig } from "../../lib/formats/model-config.ts";
import { readModelConfig } from "../../lib/formats/model-folder.ts";
import { knownModels } from "../../lib/hub/known-models.ts";
import { fixture, readJson } from "../engine/fixtures.ts";
import { errorOf } from "../thrown-error.ts";

type Json = Record<string, unknown>;

const names = readdirSync(fixture("published-configs")).filter((name) => !name.endsWith(".md"));
const folderOf = (id: string) => fixture("published-configs", id.split("/")[1]);
const configOf = (name: string) => readJson<Json>(fixture("published-configs", name, "config.json"));

test("the known shapes are all there", () => {
  expect(
    Object.keys(knownModels)
      .map((id) => id.split("/")[1])
      .sort(),
  ).toEqual([...names].sort());
});

test.each(Object.keys(knownModels))("%s is read as its known shape", async (id) => {
  const read = await readModelConfig(folderOf(id));
  const known = knownModels[id];
  const expected = completeModelConfig({ ...known, endTokens: [...known.endTokens] });
  const { generation, otherFields, padToken, ...shape } = read;
  expect(padToken).toBeNull();
  expect({ ...shape, generation: null, otherFields: null, padToken: null }).toEqual({
    ...expected,
    beginToken: read.beginToken,
  });
  expect(generation).toEqual(readJson(`${folderOf(id)}/generation_config.json`));
});

/** The same configuration in the names of transformers 5. */
function newStyle({ rope_theta, rope_scaling, torch_dtype, ...fields }: Json): Json {
  const parameters = { rope_type: "default", ...((rope_scaling ?? {}) as Json), rope_theta };
  return { ...fields, rope_parameters: parameters, dtype: torch_dtype };
}

test.each(names)("%s means the same in either style, and after it was saved", (name) => {
  const old = parseModelConfig(configOf(name), "config.json");
  expect(parseModelConfig(newStyle(configOf(name)), "config.json")).toEqual(old);
  expect(parseModelConfig(writeModelConfig(old, "bfloat16"), "config.json")).toEqual(old);
});

test.each(names)("%s keeps its generation settings", async (name) => {
  const config: ModelConfig = await readModelConfig(fixture("published-configs", name));
  expect(writeGenerationConfig(config)).toEqual(
    readJson(fixture("published-configs", name, "generation_config.json")),
  );
});

test.each(names)("%s keeps all fields of its configuration", async (name) => {
  const config: ModelConfig = await readModelConfig(fixture("published-configs", name));
  const { transformers_version, ...fields } = configOf(name);
  expect(writeModelConfig(config, "bfloat16")).toMatchObject(fields);
});

const llama3 = {
  rope_type: "llama3",
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};

const changes: [change: Json, field: string][] = [
  [{ model_type: "mixtral", architectures: ["MixtralForCausalLM"] }, "model_type"],
  [{ model_type: "gemma2" }, "model_type"],
  [{ architectures: ["Qwen2ForSequenceClassification"] }, "architectures"],
  [{ hidden_act: "gelu" }, "hidden_act"],
  [{ use_sliding_window: true }, "use_sliding_window"],
  [{ layer_types: "sliding_attention" }, "layer_types"],
  [{ layer_types: ["full_attention", "sliding_attention"] }, "layer_types"],
  [{ rope_scaling: { rope_type: "yarn", factor: 4 } }, "rope_scaling.rope_type"],
  [{ rope_scaling: { type: "dynamic", factor: 2 } }, "rope_scaling.rope_type"],
  [{ rope_scaling: { rope_type: null, type: "linear", factor: 2 } }, "rope_scaling.rope_type"],
  [{ rope_parameters: { rope_type: "longrope", rope_theta: 1e6 } }, "rope_parameters.rope_type"],
  [{ rope_parameters: { full_attention: { rope_theta: 1e4 } } }, "rope_parameters.full_attention"],
  [{ rope_parameters: { rope_theta: 1e6 }, rope_scaling: { type: "linear", factor: 2 } }, "rope_scaling"],
  [{ rope_scaling: llama3, original_max_position_embeddings: 4096 }, "original_max_position_embeddings"],
  [{ rope_theta: 1e6, rope_parameters: { rope_theta: 5e5 } }, "rope_theta"],
  [{ rope_theta: 1e6, rope_scaling: { type: "linear", factor: 2, rope_theta: 1e4 } }, "rope_theta"],
  [
    {
      rope_theta: undefined,
      rope_parameters: { ...llama3, rope_theta: 5e5 },
      rope_scaling: { ...llama3, rope_theta: 1e4 },
    },
    "rope_parameters.rope_theta",
  ],
  [{ rope_scaling: { rope_type: "linear", type: "llama3", factor: 2 } }, "rope_scaling.type"],
  [{ is_causal: false }, "is_causal"],
  [{ quantization_config: { quant_method: "awq", bits: 4 } }, "quantization_config"],
  [{ num_experts: 8 }, "num_experts"],
  [{ partial_rotary_factor: 0.5 }, "partial_rotary_factor"],
  [{ attention_dropout: 0.1 }, "attention_dropout"],
  [{ auto_map: { AutoModelForCausalLM: "modeling.Own" } }, "auto_map"],
];

test.each(changes)("%j is refused by name", (change, field) => {
  const error = errorOf(() =>
    parseModelConfig({ ...configOf("Qwen2.5-0.5B-Instruct"), ...change }, "config.json"),
  );
  expect([error.code, error.message]).toEqual(["UNSUPPORTED", expect.stringContaining(`: ${field} is `)]);
});

test("what is said twice and agrees is taken", () => {
  const plain = { ...configOf("Llama-3.2-1B-Instruct"), rope_theta: undefined, rope_scaling: undefined };
  const rope = { ropeTheta: 5e5, ropeScaling: { kind: "llama3", factor: 8, originalMaxPositions: 8192 } };
  const both = { rope_parameters: { ...llama3, rope_theta: 5e5 }, rope_scaling: llama3, rope_theta: 5e5 };
  for (const said of [
    both,
    { ...both, rope_theta: undefined },
    { ...both, rope_parameters: llama3 },
    { rope_scaling: { ...llama3, type: "llama3", rope_theta: 5e5 }, rope_theta: null },
  ]) {
    expect(parseModelConfig({ ...plain, ...said }, "config.json"), JSON.stringify(said)).toMatchObject(rope);
  }
});

test("fields that change nothing are passed over", () => {
  const plain = parseModelConfig(configOf("Qwen2.5-0.5B-Instruct"), "config.json");
  const more = {
    use_cache: false,
    transformers_version: "9",
    _name_or_path: "/x",
    initializer_range: 1,
    max_window_layers: 3,
    layer_types: Array(24).fill("full_attention"),
    quantization_config: null,
    attn_implementation: "eager",
    torch_dtype: "float16",
  };
  const passed = parseModelConfig({ ...configOf("Qwen2.5-0.5B-Instruct"), ...more }, "config.json");
  expect({ ...passed, otherFields: null }).toEqual({ ...plain, otherFields: null });
  const { transformers_version, torch_dtype, _name_or_path, ...kept } = more;
  expect(writeModelConfig(passed, "float32")).toMatchObject(kept);
});
