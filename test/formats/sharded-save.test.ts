// Saving in several files, and what a saved folder keeps of its source.
import { readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { asidePath } from "../../lib/files/atomic-file.ts";
import { readSafetensorsHeader } from "../../lib/formats/safetensors.ts";
import type { Engine, Model } from "../../lib/index.ts";
import {
  copyOfModel,
  failure,
  fingerprint,
  fixture,
  makeEngine,
  readJson,
  scratchFolder,
} from "../engine/fixtures.ts";

let engine: Engine;
let model: Model;
beforeAll(async () => {
  engine = await makeEngine();
  model = await engine.loadModel(fixture("llama_tiny"));
});
afterAll(() => engine.dispose());

const weights = (folder: string) =>
  readdirSync(folder)
    .filter((name) => name.includes("safetensors"))
    .sort();

interface Index {
  metadata: { total_size: number };
  weight_map: Record<string, string>;
}

test.each(["float32", "bfloat16"] as const)("shards in %s load as the same model", async (dtype) => {
  const source = await engine.loadModel(fixture("llama_tiny"), { dtype });
  const folder = scratchFolder();
  const seen: [number, number][] = [];
  await source.save(folder, {
    maxShardBytes: 200_000,
    onProgress: (done, total) => seen.push([done, total]),
  });
  const names = weights(folder);
  expect(names.length).toBeGreaterThan(2);
  const count = String(names.length - 1).padStart(5, "0");
  expect(names[0]).toBe(`model-00001-of-${count}.safetensors`);
  expect(names.at(-1)).toBe("model.safetensors.index.json");
  const { metadata, weight_map } = readJson<Index>(join(folder, "model.safetensors.index.json"));
  let total = 0;
  for (const name of names.slice(0, -1)) {
    const { tensors, metadata: kind } = await readSafetensorsHeader(join(folder, name));
    expect(kind).toEqual({ format: "pt" });
    const bytes = [...tensors.values()].reduce((sum, { begin, end }) => sum + end - begin, 0);
    expect(bytes <= 200_000 || tensors.size === 1).toBe(true);
    for (const tensor of tensors.keys()) expect(weight_map[tensor]).toBe(name);
    total += bytes;
  }
  expect(metadata.total_size).toBe(total);
  expect(total).toBe(source.parameterCount * (dtype === "float32" ? 4 : 2));
  expect(seen.at(-1)).toEqual([total, total]);
  expect(seen.every(([done], k) => k === 0 || done >= seen[k - 1][0])).toBe(true);
  const loaded = await engine.loadModel(folder, { dtype });
  expect(await fingerprint(loaded)).toEqual(await fingerprint(source));
});

test("a save leaves no weights of the save before", async () => {
  const folder = scratchFolder();
  writeFileSync(join(folder, "tokenizer.json"), "{}");
  writeFileSync(join(folder, "model-notes.safetensors"), "someone else's");
  const saves = [1e9, 300_000, 100_000, 1e9].map((maxShardBytes) => async () => {
    await model.save(folder, { maxShardBytes });
    expect(await fingerprint(await engine.loadModel(folder))).toEqual(await fingerprint(model));
    return weights(folder).filter((name) => name !== "model-notes.safetensors");
  });
  const found: string[][] = [];
  for (const save of saves) found.push(await save());
  expect(found[0]).toEqual(["model.safetensors"]);
  expect(found[3]).toEqual(["model.safetensors"]);
  expect(found[2].length).toBeGreaterThan(found[1].length);
  expect(readdirSync(folder)).toEqual(expect.arrayContaining(["tokenizer.json", "model-notes.safetensors"]));
});

test("a shard for which there is no space leaves everything as it was", async () => {
  const folder = copyOfModel("llama_tiny");
  const before = readdirSync(folder).map((name) => [name, statSync(join(folder, name)).mtimeMs]);
  const { length } = weights(await savedCopy(200_000));
  const name = `model-00002-of-${String(length - 1).padStart(5, "0")}.safetensors`;
  symlinkSync("/dev/full", asidePath(join(folder, name)));
  await failure(model.save(folder, { maxShardBytes: 200_000 }), "DISK_FULL");
  expect(readdirSync(folder).map((name) => [name, statSync(join(folder, name)).mtimeMs])).toEqual(before);
});

async function savedCopy(maxShardBytes: number): Promise<string> {
  const folder = scratchFolder();
  await model.save(folder, { maxShardBytes });
  return folder;
}

test("generation_config.json keeps the fields of the source, also through copies and training formats", async () => {
  const source = copyOfModel();
  const generation = {
    bos_token_id: 3,
    pad_token_id: 3,
    do_sample: true,
    eos_token_id: [5, 3],
    repetition_penalty: 1.1,
    temperature: 0.7,
    top_p: 0.8,
    top_k: 20,
  };
  writeFileSync(join(source, "generation_config.json"), JSON.stringify(generation));
  const loaded = await engine.loadModel(source);
  expect(loaded.config.endTokens).toEqual([5, 3]);
  const folder = scratchFolder();
  await (await loaded.clone()).save(folder);
  expect(readJson(join(folder, "generation_config.json"))).toEqual(generation);
  const again = scratchFolder();
  await (await engine.loadModel(folder)).save(again);
  expect(readFileSync(join(again, "generation_config.json"))).toEqual(
    readFileSync(join(folder, "generation_config.json")),
  );
});

test("tokens that end replies enter eos_token_id, and nothing else changes", async () => {
  const saved = async (change: (folder: string) => void, endTokens: number[]) => {
    const source = copyOfModel();
    change(source);
    const folder = scratchFolder();
    await (await engine.loadModel(source)).save(folder, { endTokens });
    const again = await engine.loadModel(folder);
    const file = (name: string) => readJson<Record<string, unknown>>(join(folder, name));
    return { generation: file("generation_config.json"), config: file("config.json"), again };
  };
  const own = { bos_token_id: 3, eos_token_id: 3, max_new_tokens: 2048 };
  const write = (value: object) => (folder: string) =>
    writeFileSync(join(folder, "generation_config.json"), JSON.stringify(value));
  const eos = readJson<{ eos_token_id: number }>(join(copyOfModel(), "config.json")).eos_token_id;

  const added = await saved(write(own), [5, 3]);
  expect(added.generation).toEqual({ ...own, eos_token_id: [3, 5] });
  expect(added.config.eos_token_id).toBe(eos);
  expect(added.again.config.endTokens).toEqual([3, 5]);

  const known = await saved(write({ ...own, eos_token_id: [3] }), [3]);
  expect(known.generation).toEqual({ ...own, eos_token_id: [3] });

  // Without a file of its own, readers make one of config.json.
  const without = await saved((folder) => rmSync(join(folder, "generation_config.json")), [eos, 5]);
  expect(without.generation).toMatchObject({ _from_model_config: true, eos_token_id: [eos, 5] });
  expect(without.config.eos_token_id).toEqual([eos, 5]);
  await failure(model.save(scratchFolder(), { endTokens: [1e9] }), "BAD_ARGUMENT");
});

test("a limit that is no size is refused", async () => {
  await failure(model.save(scratchFolder(), { maxShardBytes: 0 }), "BAD_ARGUMENT");
});
