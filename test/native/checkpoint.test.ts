// Model folders and trainer states: round trips, and every kind of damage.
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTrainer, type Engine, type SpaErrorCode } from "../../lib/index.ts";
import {
  copyOfModel,
  failure,
  fingerprint,
  fixture,
  makeEngine,
  pack,
  readJson,
  scratchFolder,
  smallShape,
  someRows,
} from "./fixtures.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await makeEngine();
});
afterAll(() => engine.dispose());

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;

/** The parts of a safetensors file. */
function readParts(file: string): { header: Header; data: Buffer } {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__: _, ...header } = JSON.parse(bytes.toString("utf8", 8, 8 + length));
  return { header, data: bytes.subarray(8 + length) };
}

function writeParts(file: string, header: unknown, data: Uint8Array): void {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(file, Buffer.concat([length, json, data]));
}

/** Rewrites model.safetensors of a folder. */
function edit(folder: string, change: (header: Header, data: Buffer) => unknown): void {
  const file = join(folder, "model.safetensors");
  const { header, data } = readParts(file);
  const result = change(header, data);
  writeParts(file, result ?? header, data);
}

function editConfig(folder: string, change: Record<string, unknown>): void {
  const file = join(folder, "config.json");
  writeFileSync(file, JSON.stringify({ ...readJson<object>(file), ...change }));
}

/** Splits model.safetensors into shards with an index. */
function shard(folder: string, count: number): Record<string, string> {
  const { header, data } = readParts(join(folder, "model.safetensors"));
  rmSync(join(folder, "model.safetensors"));
  const weightMap: Record<string, string> = {};
  const names = Object.keys(header);
  for (let i = 0; i < count; i++) {
    const file = `model-0000${i + 1}-of-0000${count}.safetensors`;
    const own: Header = {};
    const parts: Buffer[] = [];
    let position = 0;
    for (const name of names.filter((_, k) => k % count === i)) {
      const [begin, end] = header[name].data_offsets;
      own[name] = { ...header[name], data_offsets: [position, position + end - begin] };
      position += end - begin;
      parts.push(data.subarray(begin, end));
      weightMap[name] = file;
    }
    writeParts(join(folder, file), own, Buffer.concat(parts));
  }
  writeFileSync(
    join(folder, "model.safetensors.index.json"),
    JSON.stringify({ metadata: {}, weight_map: weightMap }),
  );
  return weightMap;
}

const norm = "model.norm.weight";
const query = "model.layers.0.self_attn.q_proj.weight";

const damages: [string, SpaErrorCode, RegExp, (folder: string) => void][] = [
  ["no folder", "BAD_CHECKPOINT", /config\.json could not be read/, (f) => rmSync(f, { recursive: true })],
  [
    "no config.json",
    "BAD_CHECKPOINT",
    /config\.json could not be read/,
    (f) => rmSync(join(f, "config.json")),
  ],
  [
    "no weights",
    "BAD_CHECKPOINT",
    /model\.safetensors: no such file/,
    (f) => rmSync(join(f, "model.safetensors")),
  ],
  [
    "config.json that is not JSON",
    "BAD_CHECKPOINT",
    /config\.json is not JSON/,
    (f) => writeFileSync(join(f, "config.json"), "{"),
  ],
  [
    "config.json that is an array",
    "BAD_CHECKPOINT",
    /JSON object/,
    (f) => writeFileSync(join(f, "config.json"), "[]"),
  ],
  [
    "a missing config field",
    "BAD_CHECKPOINT",
    /no field hidden_size/,
    (f) => editConfig(f, { hidden_size: undefined }),
  ],
  [
    "a config field of a wrong type",
    "BAD_CHECKPOINT",
    /layers must be a whole number.*"three"/,
    (f) => editConfig(f, { num_hidden_layers: "three" }),
  ],
  [
    "heads that do not divide",
    "BAD_CHECKPOINT",
    /multiple/,
    (f) => editConfig(f, { num_key_value_heads: 3 }),
  ],
  [
    "an empty file",
    "BAD_CHECKPOINT",
    /0 bytes are too few/,
    (f) => writeFileSync(join(f, "model.safetensors"), ""),
  ],
  [
    "a foreign file",
    "BAD_CHECKPOINT",
    /no safetensors file/,
    (f) => writeFileSync(join(f, "model.safetensors"), "PK\u0003\u0004 a zip archive of something else"),
  ],
  [
    "a folder in the file's place",
    "BAD_CHECKPOINT",
    /not a file/,
    (f) => {
      rmSync(join(f, "model.safetensors"));
      mkdirSync(join(f, "model.safetensors"));
    },
  ],
  [
    "a header longer than the file",
    "BAD_CHECKPOINT",
    /its header says/,
    (f) => truncateSync(join(f, "model.safetensors"), 1000),
  ],
  [
    "a truncated file",
    "BAD_CHECKPOINT",
    /truncated/,
    (f) => truncateSync(join(f, "model.safetensors"), readFileSync(join(f, "model.safetensors")).length - 1),
  ],
  [
    "bytes after the end",
    "BAD_CHECKPOINT",
    /7 bytes after the last tensor/,
    (f) => appendFileSync(join(f, "model.safetensors"), "garbage"),
  ],
  ["a header that is not JSON", "BAD_CHECKPOINT", /not JSON/, (f) => edit(f, () => "{'single': quotes}")],
  ["a header that is no object", "BAD_CHECKPOINT", /does not begin with/, (f) => edit(f, () => "[1]")],
  [
    "an entry that is no object",
    "BAD_CHECKPOINT",
    /model\.norm\.weight is not described/,
    (f) =>
      edit(f, (h) => {
        h[norm] = 3 as never;
      }),
  ],
  [
    "an unknown dtype",
    "BAD_CHECKPOINT",
    /model\.norm\.weight has the unknown dtype "F31"/,
    (f) =>
      edit(f, (h) => {
        h[norm].dtype = "F31";
      }),
  ],
  [
    "a negative size",
    "BAD_CHECKPOINT",
    /shape/,
    (f) =>
      edit(f, (h) => {
        h[norm].shape = [-64];
      }),
  ],
  [
    "a dtype of another size",
    "BAD_CHECKPOINT",
    /needs 128 bytes, its data_offsets span 256/,
    (f) =>
      edit(f, (h) => {
        h[norm].dtype = "BF16";
      }),
  ],
  [
    "integers",
    "BAD_CHECKPOINT",
    /model\.norm\.weight is of I32/,
    (f) =>
      edit(f, (h) => {
        h[norm].dtype = "I32";
      }),
  ],
  [
    "a shape that lies",
    "BAD_CHECKPOINT",
    /needs 260 bytes/,
    (f) =>
      edit(f, (h) => {
        h[norm].shape = [65];
      }),
  ],
  [
    "a shape that fits other weights",
    "BAD_CHECKPOINT",
    /q_proj.weight has the shape \[32,128\], the model needs \[64,64\]/,
    (f) =>
      edit(f, (h) => {
        h[query].shape = [32, 128];
      }),
  ],
  [
    "a size that overflows",
    "BAD_CHECKPOINT",
    /needs .*bytes/,
    (f) =>
      edit(f, (h) => {
        h[norm].shape = [2 ** 31, 2 ** 31, 2 ** 31];
      }),
  ],
  [
    "offsets that overlap",
    "BAD_CHECKPOINT",
    /overlap/,
    (f) =>
      edit(f, (h) => {
        const d = h[norm].data_offsets;
        h[norm].data_offsets = [d[0] - 4, d[1] - 4];
      }),
  ],
  [
    "offsets with a gap",
    "BAD_CHECKPOINT",
    /unused/,
    (f) =>
      edit(f, (h) => {
        const d = h[norm].data_offsets;
        h[norm].data_offsets = [d[0] + 4, d[1] + 4];
      }),
  ],
  [
    "offsets that run backwards",
    "BAD_CHECKPOINT",
    /data_offsets/,
    (f) =>
      edit(f, (h) => {
        h[norm].data_offsets.reverse();
      }),
  ],
  [
    "offsets that are no numbers",
    "BAD_CHECKPOINT",
    /data_offsets/,
    (f) =>
      edit(f, (h) => {
        h[norm].data_offsets = ["0", "4"] as never;
      }),
  ],
  [
    "a missing tensor",
    "BAD_CHECKPOINT",
    /tensor model\.layers\.2\..* is missing/,
    (f) =>
      edit(f, (h) => {
        const old = "model.layers.2.mlp.up_proj.weight";
        h.renamed = h[old];
        delete h[old];
      }),
  ],
  [
    "a missing layer",
    "BAD_CHECKPOINT",
    /tensors model\.layers\.3\..*12 in all\) are missing/,
    (f) => editConfig(f, { num_hidden_layers: 4 }),
  ],
  [
    "an extra tensor",
    "BAD_CHECKPOINT",
    /tensors model\.layers\.2\..* are unexpected/,
    (f) => editConfig(f, { num_hidden_layers: 2 }),
  ],
  ["another model's config", "BAD_CHECKPOINT", /shape/, (f) => editConfig(f, { hidden_size: 128 })],
  [
    "an untied head that is not there",
    "BAD_CHECKPOINT",
    /lm_head.weight is missing/,
    (f) => editConfig(f, { tie_word_embeddings: false }),
  ],
  [
    "NaN weights",
    "BAD_CHECKPOINT",
    /mlp\.down_proj\.weight/,
    (f) =>
      edit(f, (h, d) => {
        d.writeFloatLE(Number.NaN, h["model.layers.1.mlp.down_proj.weight"].data_offsets[0] + 8);
      }),
  ],
  [
    "infinite weights",
    "BAD_CHECKPOINT",
    /model\.norm\.weight/,
    (f) =>
      edit(f, (h, d) => {
        d.writeFloatLE(Number.POSITIVE_INFINITY, h[norm].data_offsets[1] - 4);
      }),
  ],
  [
    "another architecture",
    "UNSUPPORTED",
    /model_type is "gpt2"/,
    (f) => editConfig(f, { model_type: "gpt2" }),
  ],
  [
    "a classifier",
    "UNSUPPORTED",
    /architectures/,
    (f) => editConfig(f, { architectures: ["Qwen2ForSequenceClassification"] }),
  ],
  [
    "a sliding window",
    "UNSUPPORTED",
    /use_sliding_window is true/,
    (f) => editConfig(f, { use_sliding_window: true }),
  ],
  [
    "sliding layers",
    "UNSUPPORTED",
    /layer_types is "sliding_attention"/,
    (f) => editConfig(f, { layer_types: ["full_attention", "sliding_attention"] }),
  ],
  ["another activation", "UNSUPPORTED", /hidden_act is "gelu"/, (f) => editConfig(f, { hidden_act: "gelu" })],
  [
    "another rope scaling",
    "UNSUPPORTED",
    /rope_parameters\.rope_type is "yarn"/,
    (f) => editConfig(f, { rope_parameters: { rope_type: "yarn", factor: 4 } }),
  ],
  [
    "an older rope scaling",
    "UNSUPPORTED",
    /rope_scaling\.rope_type is "dynamic"/,
    (f) => editConfig(f, { rope_parameters: undefined, rope_scaling: { type: "dynamic", factor: 2 } }),
  ],
  [
    "quantised weights",
    "UNSUPPORTED",
    /quantization_config is /,
    (f) => editConfig(f, { quantization_config: { quant_method: "gptq" } }),
  ],
  ["code of its own", "UNSUPPORTED", /auto_map/, (f) => editConfig(f, { auto_map: { AutoModel: "x.Y" } })],
];

describe("damaged folders", () => {
  test.each(damages)("%s", async (_, code, text, damage) => {
    const folder = copyOfModel();
    damage(folder);
    const error = await failure(engine.loadModel(folder), code);
    expect(error.message).toMatch(text);
    expect(error.message).toContain(folder);
  });

  const shardDamages: [string, RegExp, (folder: string, map: Record<string, string>) => void][] = [
    [
      "a missing shard",
      /model-00002-of-00003\.safetensors: no such file/,
      (f) => rmSync(join(f, "model-00002-of-00003.safetensors")),
    ],
    [
      "a truncated shard",
      /model-00003-of-00003\.safetensors: it is truncated/,
      (f) => {
        const s = join(f, "model-00003-of-00003.safetensors");
        truncateSync(s, readFileSync(s).length - 8);
      },
    ],
    [
      "an index that is not JSON",
      /index\.json: it is not JSON/,
      (f) => writeFileSync(join(f, "model.safetensors.index.json"), ""),
    ],
    [
      "an index without a map",
      /no weight_map/,
      (f) => writeFileSync(join(f, "model.safetensors.index.json"), "{}"),
    ],
    [
      "an index that names the wrong shard",
      /model\.norm\.weight/,
      (f, map) => {
        map[norm] =
          "model-00001-of-00003.safetensors" === map[norm]
            ? "model-00002-of-00003.safetensors"
            : "model-00001-of-00003.safetensors";
        writeFileSync(join(f, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
      },
    ],
    [
      "an index that points outside the folder",
      /not a file name/,
      (f, map) => {
        map[norm] = "../model.safetensors";
        writeFileSync(join(f, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
      },
    ],
  ];
  test.each(shardDamages)("%s", async (_, text, damage) => {
    const folder = copyOfModel();
    damage(folder, shard(folder, 3));
    expect((await failure(engine.loadModel(folder), "BAD_CHECKPOINT")).message).toMatch(text);
  });
});

describe("folders that load", () => {
  test("shards are the same model", async () => {
    const folder = copyOfModel("llama_tiny");
    const whole = await engine.loadModel(folder);
    shard(folder, 3);
    const shards = await engine.loadModel(folder);
    expect(await fingerprint(shards)).toEqual(await fingerprint(whole));
  });

  test("buffers of older checkpoints and a stored tied head are passed over", async () => {
    const folder = copyOfModel();
    const file = join(folder, "model.safetensors");
    const { header, data } = readParts(file);
    const end = data.length;
    header["model.layers.0.self_attn.rotary_emb.inv_freq"] = {
      dtype: "F32",
      shape: [8],
      data_offsets: [end, end + 32],
    };
    const embedding = header["model.embed_tokens.weight"];
    const size = embedding.data_offsets[1] - embedding.data_offsets[0];
    header["lm_head.weight"] = { ...embedding, data_offsets: [end + 32, end + 32 + size] };
    writeParts(file, header, Buffer.concat([data, Buffer.alloc(32 + size)]));
    const loaded = await engine.loadModel(folder);
    const original = await engine.loadModel(fixture("qwen2_tiny"));
    expect(await fingerprint(loaded)).toEqual(await fingerprint(original));
  });

  test("float16 files", async () => {
    const folder = copyOfModel();
    const file = join(folder, "model.safetensors");
    const { header } = readParts(file);
    let position = 0;
    for (const entry of Object.values(header)) {
      const size = entry.shape.reduce((a, b) => a * b, 2);
      Object.assign(entry, { dtype: "F16", data_offsets: [position, position + size] });
      position += size;
    }
    // 0x3800 is 0.5.
    writeParts(file, header, Buffer.from(new Uint16Array(position / 2).fill(0x3800).buffer));
    const model = await engine.loadModel(folder);
    expect((await fingerprint(model)).every(Number.isFinite)).toBe(true);
  });
});

describe("save", () => {
  test.each(["qwen2", "qwen3", "llama"] as const)(
    "%s: a round trip is exact, weights and configuration",
    async (architecture) => {
      const folder = scratchFolder();
      const model = await engine.createModel(
        {
          ...smallShape,
          architecture,
          headDimension: 12,
          tiedEmbeddings: architecture === "qwen3",
          ropeTheta: 5e5,
          ropeScaling:
            architecture === "llama"
              ? {
                  kind: "llama3",
                  factor: 8,
                  lowFrequencyFactor: 1,
                  highFrequencyFactor: 4,
                  originalMaxPositions: 32,
                }
              : null,
          attentionBias: architecture !== "qwen2",
          mlpBias: architecture === "llama",
          beginToken: 1,
          endTokens: architecture === "llama" ? [2, 3] : [2],
          padToken: architecture === "qwen3" ? null : 0,
        },
        { seed: 4 },
      );
      await model.save(folder);
      expect(readdirSync(folder).sort()).toEqual([
        "config.json",
        "generation_config.json",
        "model.safetensors",
      ]);
      const again = await engine.loadModel(folder);
      expect(again.config).toEqual(model.config);
      expect(again.parameterCount).toBe(model.parameterCount);
      expect(await fingerprint(again)).toEqual(await fingerprint(model));
      const second = scratchFolder();
      await again.save(second);
      for (const name of readdirSync(folder)) {
        expect(readFileSync(join(second, name)).equals(readFileSync(join(folder, name))), name).toBe(true);
      }
    },
  );

  test.each(["float32", "bfloat16"] as const)(
    "%s: the tensors of a fixture come out as they went in",
    async (dtype) => {
      const source = dtype === "float32" ? fixture("llama_tiny") : fixture("llama_tiny", "bf16");
      const folder = scratchFolder();
      const model = await engine.loadModel(source, { dtype });
      await model.save(folder);
      const [before, after] = [source, folder].map((f) => readParts(join(f, "model.safetensors")));
      expect(Object.keys(after.header).sort()).toEqual(Object.keys(before.header).sort());
      for (const [name, entry] of Object.entries(before.header)) {
        const written = after.header[name];
        expect([written.dtype, written.shape]).toEqual([entry.dtype, entry.shape]);
        expect(
          after.data.subarray(...written.data_offsets).equals(before.data.subarray(...entry.data_offsets)),
          name,
        ).toBe(true);
      }
    },
  );

  test("a value head is saved and loaded", async () => {
    const folder = scratchFolder();
    const model = await engine.createModel(smallShape, { valueHead: true });
    const batch = pack(someRows([8]));
    const trainer = createTrainer(model, { critic: "shared" });
    const ones = new Float32Array(8).fill(1);
    const mask = new Uint8Array(8).fill(1);
    await trainer.step(
      { ...batch, values: { mask, oldValues: new Float32Array(8), returns: ones } },
      { kind: "value" },
    );
    await model.save(folder);
    const again = await engine.loadModel(folder);
    expect(again.hasValueHead).toBe(true);
    const values = await again.values(batch);
    expect(values).toEqual(await model.values(batch));
    expect(values[7]).not.toBe(0);
  });

  test("other files stay, old ones are replaced, nothing is left aside", async () => {
    const folder = copyOfModel();
    writeFileSync(join(folder, "tokenizer.json"), "{}");
    const model = await engine.createModel(smallShape);
    await model.save(folder);
    expect(readFileSync(join(folder, "tokenizer.json"), "utf8")).toBe("{}");
    expect((await engine.loadModel(folder)).config.vocabularySize).toBe(48);
    expect(readdirSync(folder).filter((name) => name.includes(".tmp"))).toEqual([]);
  });

  test("a folder that cannot be made, and a failed write, are errors that leave nothing behind", async () => {
    const folder = scratchFolder();
    writeFileSync(join(folder, "file"), "");
    const model = await engine.createModel(smallShape);
    await failure(model.save(join(folder, "file", "model")), "BAD_ARGUMENT");
    const aborted = AbortSignal.abort();
    await failure(model.save(join(folder, "model"), { signal: aborted }), "ABORTED");
    expect(readdirSync(join(folder, "model"))).toEqual([]);
  });

  test.runIf(existsSync("/dev/full"))("a full disk is DISK_FULL and keeps the old files", async () => {
    const folder = scratchFolder();
    const model = await engine.createModel(smallShape);
    await model.save(folder);
    const trainer = createTrainer(model);
    await trainer.saveState(folder);
    const names = readdirSync(folder).sort();
    const before = names.map((name) => readFileSync(join(folder, name)));
    const writes: [string, () => Promise<void>][] = [
      ["model.safetensors", () => model.save(folder)],
      ["config.json", () => model.save(folder)],
      ["optimizer.safetensors", () => trainer.saveState(folder)],
      ["trainer.json", () => trainer.saveState(folder)],
    ];
    for (const [name, write] of writes) {
      // A file that takes no byte, in the place where the new one is written aside.
      symlinkSync("/dev/full", join(folder, `${name}.${process.pid}.tmp`));
      const error = await failure(write(), "DISK_FULL");
      expect(error.message).toContain(folder);
      expect(readdirSync(folder).sort()).toEqual(names);
      expect(names.every((file, i) => readFileSync(join(folder, file)).equals(before[i]))).toBe(true);
    }
  });
});

describe("trainer state", () => {
  const batch = pack(someRows([8, 5]));
  const mask = new Uint8Array(13).fill(1);

  async function saved(): Promise<string> {
    const folder = scratchFolder();
    const trainer = createTrainer(await engine.createModel(smallShape));
    await trainer.step({ ...batch, mask }, { kind: "sft" });
    await trainer.saveState(folder);
    return folder;
  }

  const cases: [string, RegExp, (folder: string) => void][] = [
    ["no trainer.json", /trainer\.json could not be read/, (f) => rmSync(join(f, "trainer.json"))],
    ["trainer.json that is not JSON", /not JSON/, (f) => writeFileSync(join(f, "trainer.json"), "x")],
    [
      "another version",
      /version 99/,
      (f) => writeFileSync(join(f, "trainer.json"), '{"version":99,"stepCount":1,"critic":false}'),
    ],
    [
      "a step count that is none",
      /stepCount/,
      (f) => writeFileSync(join(f, "trainer.json"), '{"version":1,"stepCount":-1,"critic":false}'),
    ],
    [
      "a critic's state",
      /saved with a critic/,
      (f) => writeFileSync(join(f, "trainer.json"), '{"version":1,"stepCount":1,"critic":true}'),
    ],
    ["no tensors", /optimizer\.safetensors: no such file/, (f) => rmSync(join(f, "optimizer.safetensors"))],
    [
      "truncated tensors",
      /truncated/,
      (f) =>
        truncateSync(
          join(f, "optimizer.safetensors"),
          readFileSync(join(f, "optimizer.safetensors")).length - 4,
        ),
    ],
    [
      "NaN",
      /exp_avg/,
      (f) => {
        const file = join(f, "optimizer.safetensors");
        const { header, data } = readParts(file);
        data.writeFloatLE(Number.NaN, 16);
        writeParts(file, header, data);
      },
    ],
    [
      "another model's tensors",
      /shape|missing|unexpected/,
      (f) => {
        const file = join(f, "optimizer.safetensors");
        const { header, data } = readParts(file);
        const { shape } = header["exp_avg.model.embed_tokens.weight"];
        shape.reverse();
        writeParts(file, header, data);
      },
    ],
  ];
  test.each(cases)("%s", async (_, text, damage) => {
    const folder = await saved();
    damage(folder);
    const model = await engine.createModel(smallShape);
    const trainer = createTrainer(model);
    expect((await failure(trainer.loadState(folder), "BAD_CHECKPOINT")).message).toMatch(text);
    expect(trainer.stepCount).toBe(0);
    // Nothing has changed: the first step is that of a new trainer.
    const twin = createTrainer(await engine.createModel(smallShape));
    await trainer.step({ ...batch, mask }, { kind: "sft" });
    await twin.step({ ...batch, mask }, { kind: "sft" });
    expect(await fingerprint(model)).toEqual(await fingerprint(twin.model));
  });
});
