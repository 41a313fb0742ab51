import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { loadConfig } from "../../lib/config/load.ts";
import { Engine } from "../../lib/engine/engine.ts";
import { estimate, resume, train } from "../../lib/pipeline.ts";
import { createProgress } from "../../lib/run/progress.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { nanoShape } from "../../lib/stages/base/pretrain.ts";
import { exportModel } from "../../lib/stages/export.ts";
import { modelForEstimates } from "../../lib/stages/model-shape.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { WordTokenizer } from "../../lib/text/word-tokenizer.ts";
import { TinyHub } from "../hub/tiny-hub.ts";
import { rejection } from "../thrown-error.ts";
import { tinyConfig } from "./tiny-run.ts";

const id = "spa/nano";
const root = mkdtempSync(join(tmpdir(), "spa-hub-model-"));
const endOfText = nanoTokenizer().tokenId("<|endoftext|>")!;
let hub: TinyHub;

/** The files of an untrained nano model; each seed gives other weights. */
async function modelFiles(seed: number): Promise<Record<string, Uint8Array>> {
  const folder = mkdtempSync(join(root, "model-"));
  await using engine = await Engine.create({ device: "cpu", threads: 1 });
  await using model = await engine.createModel(nanoShape(tinyConfig(), nanoTokenizer()), { seed });
  await model.save(folder);
  nanoTokenizer().save(folder);
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}

beforeAll(async () => {
  // As a base model's: it ends documents, and says nothing of the token that ends turns.
  const generation = { eos_token_id: endOfText, max_new_tokens: 64 };
  hub = await TinyHub.start(id, {
    ...(await modelFiles(1)),
    "generation_config.json": Buffer.from(JSON.stringify(generation)),
  });
});
beforeEach(() => {
  vi.stubEnv("HF_HOME", mkdtempSync(join(root, "home-")));
  vi.stubEnv("HF_ENDPOINT", hub.endpoint);
  hub.requests.length = 0;
});
afterAll(async () => {
  await hub[Symbol.asyncDispose]();
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true, force: true });
});

const settings = { arms: ["format-only"], model: id, ppo: { steps: 1, groups: 2, validateEvery: 0 } };

test("a run fetches its model, keeps the commit, and goes on with the same weights", async () => {
  const written: string[] = [];
  const progress = createProgress({ mode: "json", stream: { write: (text) => written.push(text) } });
  const { folder } = await train(tinyConfig(settings), { root, name: "first", progress });
  const { model } = RunFolder.open(folder).config;
  expect(model).toEqual({ kind: "pretrained", path: id, revision: hub.commit });
  expect(written.join("")).toContain(`"stage":"download ${id} (MB)"`);
  expect(written.filter((line) => line.includes('"event":"stageEnd"'))[0]).toContain("download");

  // What is saved ends where the run's replies ended.
  const { checkpoints } = RunFolder.open(folder);
  expect(checkpoints.length).toBeGreaterThan(0);
  const exported = join(root, "exported");
  await exportModel(folder, { to: exported });
  for (const saved of [...checkpoints.map(({ name }) => join(folder, "checkpoints", name)), exported]) {
    const generation = JSON.parse(readFileSync(join(saved, "generation_config.json"), "utf8"));
    const ends = [endOfText, nanoTokenizer().tokenId("<|im_end|>")];
    expect(generation, saved).toEqual({ eos_token_id: ends, max_new_tokens: 64 });
  }

  // The branch moves on; the run does not.
  hub.requests.length = 0;
  hub.refs.set("main", "5".repeat(40));
  const again = await resume(folder);
  expect(again.results.evaluations.base).toBeDefined();
  expect(hub.requests).toEqual([]);
  hub.refs.set("main", "1".repeat(40));
});

test("a model that is refused leaves no run folder, and its weights are not fetched", async () => {
  const small = tinyConfig({ ...settings, protocol: { maxTokens: 4096 } });
  const positions = await rejection(train(small, { root, name: "refused" }));
  expect((await rejection(estimate(small))).message).toBe(positions.message);
  expect([positions.code, positions.message]).toEqual([
    "BAD_CONFIG",
    expect.stringMatching(/protocol.maxTokens is 4096, but the model in .* has 2048 positions/),
  ]);
  const tokenizer = hub.files.get("tokenizer.json")!;
  hub.files.delete("tokenizer.json");
  const error = await rejection(train(tinyConfig(settings), { root, name: "refused" }));
  expect(error.code).toBe("BAD_TOKENIZER");
  hub.files.set("tokenizer.json", tokenizer);
  expect(readdirSync(root)).not.toContain("refused");
  hub.files.set(
    "chat_template.jinja",
    Buffer.from("{% for message in messages %}{{ loop.index }}{% endfor %}"),
  );
  const template = await rejection(train(tinyConfig(settings), { root, name: "refused" }));
  expect([template.code, template.message]).toEqual([
    "BAD_TOKENIZER",
    expect.stringContaining("chat template cannot be used"),
  ]);
  expect(hub.requests.some(({ path }) => path.includes("model.safetensors"))).toBe(false);
  hub.files.delete("chat_template.jinja");
  const missing = await rejection(
    train(tinyConfig({ ...settings, model: "spa/nanno" }), { root, name: "refused" }),
  );
  expect(missing.code).toBe("HUB_NOT_FOUND");
  const sft = { data: join(root, "none.parquet") };
  const noData = await rejection(train(tinyConfig({ ...settings, sft }), { root, name: "refused" }));
  expect([noData.code, noData.message]).toEqual([
    "BAD_ARGUMENT",
    expect.stringContaining("there is no such file"),
  ]);
  expect(readdirSync(root)).not.toContain("refused");
});

test("estimates fetch no weights, and nothing at all for models that are known", async () => {
  const { parameters } = await estimate(tinyConfig(settings));
  expect(parameters).toBeGreaterThan(1000);
  expect(hub.requests.some(({ path }) => path.includes(hub.etag("model.safetensors")))).toBe(false);
  hub.requests.length = 0;
  const config = tinyConfig({
    model: "Qwen/Qwen2.5-1.5B-Instruct",
    protocol: { style: "full", maxTokens: 4096 },
  });
  const model = await modelForEstimates(config);
  expect(model.isStandIn).toBe(true);
  // As published: 1.54 B parameters.
  expect((await estimate(config)).parameters).toBe(1_543_714_304);
  expect(hub.requests).toEqual([]);
});

test.each([
  ["Qwen/Qwen2.5-0.5B-Instruct", 494_032_768],
  ["Qwen/Qwen2.5-3B-Instruct", 3_085_938_688],
  ["Qwen/Qwen3-0.6B", 596_049_920],
  ["Qwen/Qwen3-1.7B", 1_720_574_976],
  ["meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400],
  ["meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824],
])("the known shape of %s has the published number of parameters", async (model, parameters) => {
  expect((await estimate(tinyConfig({ model }))).parameters).toBe(parameters);
});

test("words stand in for tokens, and stay text", () => {
  const tokenizer = new WordTokenizer();
  const text = "<|im_start|>user\nTurn 1:\n# # P\nPush the box (X) onto 12 goals.<|im_end|>\n";
  const ids = tokenizer.encode(text);
  expect(tokenizer.decode(ids)).toBe(text);
  expect(ids[0]).toBe(tokenizer.tokenId("<|im_start|>"));
  expect(ids.length).toBeGreaterThan(20);
  expect(ids.length).toBeLessThan(36);
  expect(tokenizer.encode(text)).toEqual(ids);
});

test("presets may be run on any model", () => {
  const { model } = loadConfig("nano-frozen-lake", ["model=Qwen/Qwen3-0.6B"]);
  expect(model).toMatchObject({ kind: "pretrained", path: "Qwen/Qwen3-0.6B" });
});
