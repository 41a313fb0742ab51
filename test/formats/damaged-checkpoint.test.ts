// Every kind of damage to a model folder gives one error that names the file, field or tensor.

import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readModelConfig } from "../../lib/formats/model-folder.ts";
import type { Engine } from "../../lib/index.ts";
import { copyOfModel, failure, makeEngine } from "../engine/fixtures.ts";
import {
  type Entry,
  editConfig,
  editParts,
  type Header,
  readParts,
  shard,
  writeParts,
} from "./safetensors-file.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await makeEngine();
});
afterAll(() => engine.dispose());

type Damage = (folder: string) => void;
type Case = [name: string, text: RegExp, damage: Damage];

const weights = "model.safetensors";
const norm = "model.norm.weight";
const query = "model.layers.0.self_attn.q_proj.weight";
const up = "model.layers.2.mlp.up_proj.weight";
const down = "model.layers.1.mlp.down_proj.weight";

const remove =
  (name: string): Damage =>
  (folder) =>
    rmSync(join(folder, name), { recursive: true });
const write =
  (name: string, text: string): Damage =>
  (folder) =>
    writeFileSync(join(folder, name), text);
const config =
  (change: Record<string, unknown>): Damage =>
  (folder) =>
    editConfig(folder, change);
const header =
  (change: (header: Header) => unknown): Damage =>
  (folder) =>
    editParts(join(folder, weights), change);
const entry = (name: string, change: (entry: Entry) => void): Damage => header((h) => void change(h[name]));
const cut =
  (length: (whole: number) => number): Damage =>
  (folder) => {
    const file = join(folder, weights);
    truncateSync(file, length(readFileSync(file).length));
  };
const number =
  (value: number, position: (entry: Entry) => number, name: string): Damage =>
  (folder) =>
    editParts(join(folder, weights), (h, data) => void data.writeFloatLE(value, position(h[name])));

/** Stores a head of zeros beside the embedding that it is tied to. */
const otherHead: Damage = (folder) => {
  const file = join(folder, weights);
  const { header, data } = readParts(file);
  const embedding = header["model.embed_tokens.weight"];
  const size = embedding.data_offsets[1] - embedding.data_offsets[0];
  header["lm_head.weight"] = { ...embedding, data_offsets: [data.length, data.length + size] };
  writeParts(file, header, Buffer.concat([data, Buffer.alloc(size)]));
};

/** Moves a tensor's range by some bytes. */
const shift = (by: number): Damage =>
  entry(norm, (e) => {
    e.data_offsets = [e.data_offsets[0] + by, e.data_offsets[1] + by];
  });

const broken: Case[] = [
  ["no folder", /config\.json: no such file/, remove("")],
  ["no config.json", /config\.json: no such file/, remove("config.json")],
  ["no weights", /model\.safetensors: no such file/, remove(weights)],
  ["config.json that is not JSON", /config\.json: not JSON/, write("config.json", "{")],
  ["config.json that is an array", /JSON object/, write("config.json", "[]")],
  [
    "generation_config.json that is not JSON",
    /generation_config\.json: not JSON/,
    write("generation_config.json", "?"),
  ],
  [
    "generation_config.json that is an array",
    /generation_config\.json: must hold/,
    write("generation_config.json", "[1]"),
  ],
  ["an end token outside", /eos_token_id 512/, write("generation_config.json", '{"eos_token_id":[2,512]}')],
  ["a missing config field", /no field hidden_size/, config({ hidden_size: undefined })],
  [
    "a config field of a wrong type",
    /: num_hidden_layers must be.*"three"/,
    config({ num_hidden_layers: "three" }),
  ],
  ["heads that do not divide", /multiple/, config({ num_key_value_heads: 3 })],
  ["an empty file", /0 bytes are too few/, write(weights, "")],
  ["a foreign file", /no safetensors file/, write(weights, "PK\u0003\u0004 a zip archive of something else")],
  ["a header longer than the file", /its header says/, cut(() => 1000)],
  ["a truncated file", /truncated/, cut((whole) => whole - 1)],
  ["bytes after the end", /7 bytes after the last/, (f) => appendFileSync(join(f, weights), "garbage")],
  ["a header that is not JSON", /not JSON/, header(() => "{'single': quotes}")],
  ["a header that is no object", /does not begin with/, header(() => "[1]")],
  ["metadata that is no object", /__metadata__/, header((h) => ({ __metadata__: 3, ...h }))],
  ["an entry that is no object", /norm\.weight is not described/, header((h) => ({ ...h, [norm]: 3 }))],
  ["an unknown dtype", /norm\.weight has the unknown dtype "F31"/, entry(norm, (e) => (e.dtype = "F31"))],
  ["a negative size", /shape/, entry(norm, (e) => (e.shape = [-64]))],
  ["a dtype of another size", /needs 128 bytes.*span 256/, entry(norm, (e) => (e.dtype = "BF16"))],
  ["integers", /model\.norm\.weight is of I32/, entry(norm, (e) => (e.dtype = "I32"))],
  ["a shape that lies", /needs 260 bytes/, entry(norm, (e) => (e.shape = [65]))],
  ["another shape", /has the shape \[32,128\].*needs \[64,64\]/, entry(query, (e) => (e.shape = [32, 128]))],
  ["a size that overflows", /needs .*bytes/, entry(norm, (e) => (e.shape = [2 ** 31, 2 ** 31, 2 ** 31]))],
  ["offsets that overlap", /overlap/, shift(-4)],
  ["offsets with a gap", /unused/, shift(4)],
  ["offsets that run backwards", /data_offsets/, entry(norm, (e) => e.data_offsets.reverse())],
  ["offsets that are no numbers", /data_offsets/, entry(norm, (e) => (e.data_offsets = ["0", "4"] as never))],
  [
    "a renamed tensor",
    /up_proj\.weight is missing/,
    header(({ [up]: e, ...rest }) => ({ ...rest, renamed: e })),
  ],
  ["a missing layer", /model\.layers\.3\..*12 in all\) are missing/, config({ num_hidden_layers: 4 })],
  ["an extra layer", /tensors model\.layers\.2\..* are unexpected/, config({ num_hidden_layers: 2 })],
  ["more layers than memory", /2147483647 layers/, config({ num_hidden_layers: 2 ** 31 - 1 })],
  ["another model's config", /shape/, config({ hidden_size: 128 })],
  ["a head that is not there", /lm_head.weight is missing/, config({ tie_word_embeddings: false })],
  ["a tied head that is another", /lm_head\.weight differs/, otherHead],
  ["NaN weights", /mlp\.down_proj\.weight/, number(Number.NaN, (e) => e.data_offsets[0] + 8, down)],
  ["infinite weights", /norm\.weight/, number(Number.NEGATIVE_INFINITY, (e) => e.data_offsets[1] - 4, norm)],
  [
    "a folder in the file's place",
    /not a file/,
    (folder) => {
      rmSync(join(folder, weights));
      mkdirSync(join(folder, weights));
    },
  ],
];

const foreign: Case[] = [
  ["another architecture", /model_type is "gpt2"/, config({ model_type: "gpt2" })],
  ["no architecture", /model_type is nothing/, config({ model_type: undefined })],
  ["a classifier", /architectures/, config({ architectures: ["Qwen2ForSequenceClassification"] })],
  ["a sliding window", /use_sliding_window is true/, config({ use_sliding_window: true })],
  [
    "a window without a switch",
    /sliding_window is 9/,
    config({ use_sliding_window: undefined, sliding_window: 9 }),
  ],
  ["sliding layers", /layer_types is "sliding_attention"/, config({ layer_types: ["sliding_attention"] })],
  ["another activation", /hidden_act is "gelu"/, config({ hidden_act: "gelu" })],
  [
    "rope scaling",
    /rope_parameters\.rope_type is "yarn"/,
    config({ rope_parameters: { rope_type: "yarn" } }),
  ],
  [
    "rope scaling in the older style",
    /rope_scaling\.rope_type is "dynamic"/,
    config({ rope_parameters: undefined, rope_scaling: { type: "dynamic", factor: 2 } }),
  ],
  ["partial rotation", /partial_rotary_factor is 0.5/, config({ partial_rotary_factor: 0.5 })],
  ["dropout", /attention_dropout is 0.1/, config({ attention_dropout: 0.1 })],
  ["quantised weights", /quantization_config is /, config({ quantization_config: { quant_method: "gptq" } })],
  ["code of its own", /auto_map/, config({ auto_map: { AutoModel: "x.Y" } })],
];

describe.each([
  { code: "BAD_CHECKPOINT" as const, cases: broken },
  { code: "UNSUPPORTED" as const, cases: foreign },
])("$code", ({ code, cases }) => {
  test.each(cases)("%s", async (_, text, damage) => {
    const folder = copyOfModel();
    damage(folder);
    const error = await failure(engine.loadModel(folder), code);
    expect(error.message).toMatch(text);
    expect(error.message).toContain(folder);
  });
});

test("an adapter's folder where a whole model is needed", async () => {
  const folder = copyOfModel();
  rmSync(join(folder, "config.json"));
  writeFileSync(join(folder, "adapter_config.json"), "{}");
  const error = await failure(readModelConfig(folder), "BAD_CHECKPOINT");
  expect(error.hint).toContain("holds an adapter");
});

describe("shards", () => {
  const index = "model.safetensors.index.json";
  const third = "model-00003-of-00003.safetensors";
  const map =
    (change: (map: Record<string, string>) => void) =>
    (folder: string, weightMap: Record<string, string>) => {
      change(weightMap);
      writeFileSync(join(folder, index), JSON.stringify({ weight_map: weightMap }));
    };
  const cases: [string, RegExp, (folder: string, map: Record<string, string>) => void][] = [
    ["a missing one", /model-00003-of-00003\.safetensors: no such file/, remove(third)],
    [
      "a truncated one",
      /model-00003-of-00003\.safetensors: .*truncated/,
      (f) => truncateSync(join(f, third), 4000),
    ],
    ["an index that is not JSON", /index\.json: it is not JSON/, write(index, "")],
    ["an index without a map", /no weight_map/, write(index, "{}")],
    [
      "an index that names another shard",
      /norm\.weight is in/,
      map((m) => (m[norm] = m[norm] === third ? m[query] : third)),
    ],
    ["an index that names too much", /extra is not in/, map((m) => (m.extra = third))],
    ["an index that leaves one out", /norm\.weight is in .*no shard/, map((m) => delete m[norm])],
    [
      "a single file of an earlier save beside them",
      /holds weights twice: model\.safetensors, and model-00001-of-00003\.safetensors with model\.safetensors\.index\.json/,
      (f) => copyFileSync(join(copyOfModel(), weights), join(f, weights)),
    ],
    [
      "a single file that the index names, too",
      /holds weights twice/,
      (f, m) => {
        copyFileSync(join(copyOfModel(), weights), join(f, weights));
        write(index, JSON.stringify({ weight_map: { ...m, [norm]: weights } }))(f);
      },
    ],
    ["an index that points outside", /not a file name/, map((m) => (m[norm] = "../model.safetensors"))],
  ];
  test.each(cases)("%s", async (_, text, damage) => {
    const folder = copyOfModel();
    damage(folder, shard(folder, 3));
    expect((await failure(engine.loadModel(folder), "BAD_CHECKPOINT")).message).toMatch(text);
  });

  test.each<[string, (folder: string) => void]>([
    [
      "an index that names the single file",
      (folder) => {
        const { header } = readParts(join(folder, weights));
        const map = Object.fromEntries(Object.keys(header).map((name) => [name, weights]));
        write(index, JSON.stringify({ weight_map: map }))(folder);
      },
    ],
    [
      "shards that no index names",
      (folder) => {
        shard(folder, 3);
        remove(index)(folder);
        copyFileSync(join(copyOfModel(), weights), join(folder, weights));
      },
    ],
    [
      "an index whose shards are gone",
      (folder) => {
        shard(folder, 3);
        for (const part of [1, 2, 3]) remove(`model-0000${part}-of-00003.safetensors`)(folder);
        copyFileSync(join(copyOfModel(), weights), join(folder, weights));
      },
    ],
  ])("beside a single file %s is taken", async (_, change) => {
    const folder = copyOfModel();
    change(folder);
    await using model = await engine.loadModel(folder);
    expect(model.parameterCount).toBeGreaterThan(0);
  });
});
