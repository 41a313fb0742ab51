// A preset for LLMs from the Hub to a checkpoint: a tiny model in shards, with Qwen2.5's published tokenizer.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { loadConfig } from "../../lib/config/load.ts";
import { Engine } from "../../lib/engine/engine.ts";
import { readModelConfig } from "../../lib/formats/model-folder.ts";
import { train } from "../../lib/pipeline.ts";
import { latestCheckpoint } from "../../lib/run/checkpoint.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { fixture, readJson } from "../engine/fixtures.ts";
import { TinyHub } from "../hub/tiny-hub.ts";
import { publishedFolder } from "../text/published-tokenizers.ts";

const root = mkdtempSync(join(tmpdir(), "spa-llm-"));
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true, force: true });
});

const shape = {
  architecture: "qwen2",
  vocabularySize: 151_936,
  hiddenSize: 16,
  intermediateSize: 32,
  layers: 2,
  heads: 2,
  keyValueHeads: 1,
  ropeTheta: 1e6,
} as const;

/** Small enough for a test; everything else is the preset's. */
const overrides = [
  "model=spa/tiny-qwen",
  "engine.device=cpu",
  "engine.threads=1",
  "environment.options.searchStates=1000",
  "protocol.maxNewTokens=12",
  "arms=[spa]",
  `sft.data=${JSON.stringify(fixture("sft", "wm_train.parquet"))}`,
  "sft.epochs=1",
  "sft.validationLevels=0",
  "ppo={ steps: 1, groups: 2, groupSize: 2, validateEvery: 0, filter: { kind: none } }",
  "levels={ testLevels: 1, tuningLevels: 32 }",
  "evaluation.samples=1",
];

function published(name: string): Buffer {
  return readFileSync(join(fixture("published-configs", "Qwen2.5-0.5B-Instruct"), name));
}

/** The files of a tiny model with a large model's tokenizer, in shards. */
async function modelFiles(): Promise<Record<string, Uint8Array>> {
  const folder = mkdtempSync(join(root, "model-"));
  await using engine = await Engine.create({ device: "cpu", threads: 1 });
  await using model = await engine.createModel(shape, { dtype: "bfloat16", seed: 1 });
  await model.save(folder, { maxShardBytes: 100_000 });
  const files = readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]);
  const tokenizer = ["tokenizer.json", "tokenizer_config.json"].map((name) => [
    name,
    readFileSync(join(publishedFolder("qwen2_5"), name)),
  ]);
  return {
    ...Object.fromEntries([...files, ...tokenizer]),
    "generation_config.json": published("generation_config.json"),
  };
}

test("qwen2.5-0.5b-sokoban runs on a sharded model of the Hub, and saves a model like it", async () => {
  await using hub = await TinyHub.start("spa/tiny-qwen", await modelFiles());
  vi.stubEnv("HF_HOME", join(root, "home"));
  vi.stubEnv("HF_ENDPOINT", hub.endpoint);
  expect([...hub.files.keys()].filter((name) => name.endsWith(".safetensors")).length).toBeGreaterThan(1);

  const { folder } = await train(loadConfig("qwen2.5-0.5b-sokoban", overrides), { root, name: "run" });
  const run = RunFolder.open(folder);
  expect(run.config.model).toMatchObject({ path: "spa/tiny-qwen", revision: hub.commit });
  expect(run.stages.map(({ id, state }) => [id, state])).toContainEqual(["spa/ppo", "done"]);

  const { folder: saved } = latestCheckpoint(run, "spa/ppo")!;
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    expect(readFileSync(join(saved, name)).equals(hub.files.get(name)!), name).toBe(true);
  }
  expect(readJson(join(saved, "generation_config.json"))).toEqual(
    JSON.parse(published("generation_config.json").toString()),
  );
  expect(readJson<{ torch_dtype: string }>(join(saved, "config.json")).torch_dtype).toBe("bfloat16");
  expect(await readModelConfig(saved)).toMatchObject({ ...shape, endTokens: [151_645, 151_643] });
});
