// Model folders: what loads, and that saving and loading is exact.
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { asidePath, partialSuffix } from "../../lib/files/atomic-file.ts";
import { createTrainer, type Engine } from "../../lib/index.ts";
import {
  copyOfModel,
  failure,
  fingerprint,
  fixture,
  makeEngine,
  pack,
  scratchFolder,
  smallShape,
  someRows,
} from "../engine/fixtures.ts";
import { readParts, shard, writeParts } from "./safetensors-file.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await makeEngine();
});
afterAll(() => engine.dispose());

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
    const copy = data.subarray(...embedding.data_offsets);
    writeParts(file, header, Buffer.concat([data, Buffer.alloc(32), copy]));
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
    expect(readdirSync(folder).filter((name) => name.endsWith(partialSuffix))).toEqual([]);
  });

  test("a folder that cannot be made, and a failed write, are errors that leave nothing behind", async () => {
    const folder = scratchFolder();
    writeFileSync(join(folder, "file"), "");
    const model = await engine.createModel(smallShape);
    await failure(model.save(join(folder, "file", "model")), "FILE_FAILED");
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
      symlinkSync("/dev/full", asidePath(join(folder, name)));
      const error = await failure(write(), "DISK_FULL");
      expect(error.message).toContain(folder);
      expect(readdirSync(folder).sort()).toEqual(names);
      expect(names.every((file, i) => readFileSync(join(folder, file)).equals(before[i]))).toBe(true);
    }
  });
});
