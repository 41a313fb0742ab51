// Runs that train adapters: the whole pipeline, resume, and what comes out.
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Config } from "../../lib/config/schema.ts";
import { Engine } from "../../lib/engine/engine.ts";
import { resume, train } from "../../lib/pipeline.ts";
import { latestCheckpoint } from "../../lib/run/checkpoint.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { exportModel } from "../../lib/stages/export.ts";
import { loadTokenizer } from "../../lib/text/tokenizer.ts";
import { rejection } from "../thrown-error.ts";
import { outcomeOf, snapshotRun, tinyConfig, watchingProgress } from "./tiny-run.ts";

const root = mkdtempSync(join(tmpdir(), "spa-lora-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const settings = {
  lora: { rank: 4, alpha: 8, dropout: 0.1 },
  selfPlay: { rounds: 2 },
  sft: { optimizer: { learningRate: 3e-3 } },
  ppo: { steps: 3, loss: { klCoefficient: 0.05 }, optimizer: { learningRate: 3e-3 } },
};
const config = (changes: Record<string, unknown> = {}): Config => tinyConfig({ ...settings, ...changes });

let whole: RunFolder;
let outcome: Record<string, unknown>;
beforeAll(async () => {
  whole = RunFolder.open((await train(config(), { root, name: "whole" })).folder);
  outcome = outcomeOf(whole.path);
});

const filesOf = (stage: string, ...part: string[]) =>
  readdirSync(join(latestCheckpoint(whole, stage)!.folder, ...part)).filter((name) =>
    /adapter|model|value/.test(name),
  );
const adapterConfig = (stage: string, ...part: string[]) =>
  JSON.parse(
    readFileSync(join(latestCheckpoint(whole, stage)!.folder, ...part, "adapter_config.json"), "utf8"),
  );

describe("a run with lora", () => {
  it("keeps adapters in the checkpoints of SFT and PPO, and the base whole", () => {
    expect(whole.stages.every(({ state }) => state === "done")).toBe(true);
    expect(filesOf("base")).toEqual(["model.safetensors"]);
    for (const stage of ["spa/sft", "spa/sft-2", "spa/ppo", "control/ppo"]) {
      expect(filesOf(stage)).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    }
    expect(filesOf("spa/ppo", "critic")).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      "value_head.safetensors",
    ]);
    expect(adapterConfig("spa/ppo")).toMatchObject({ r: 4, lora_alpha: 8, lora_dropout: 0.1 });
  });

  it("names the base by its path from the adapter", () => {
    const base = latestCheckpoint(whole, "base")!.folder;
    const ppo = latestCheckpoint(whole, "spa/ppo")!.folder;
    expect(resolve(ppo, adapterConfig("spa/ppo").base_model_name_or_path)).toBe(base);
    expect(resolve(ppo, "critic", adapterConfig("spa/ppo", "critic").base_model_name_or_path)).toBe(base);
  });

  it("measures the KL penalty against the policy of PPO's start", () => {
    const first = whole.metrics
      .read()
      .find(({ stage, step, kl }) => stage === "spa/ppo" && step === 1 && kl !== undefined);
    // One update in, the policy has hardly left its start; the bare base is far away by then.
    expect(first!.kl as number).toBeLessThan(1e-3);
  });

  it("comes to the same numbers when it was killed or stopped, also in a folder that was moved", async () => {
    const folder = join(root, "killed");
    const moved: string[] = [];
    const progress = watchingProgress((stage, done) => {
      const kill = [
        ["spa/sft", 3],
        ["spa/ppo", 2],
        ["control/ppo", 3],
      ].some(([id, at]) => id === stage && at === done);
      if (!kill) return;
      const copy = join(root, `copy-${moved.length}`);
      snapshotRun(folder, copy);
      moved.push(copy);
    });
    await train(config(), { root, name: "killed", progress });
    expect(moved).toHaveLength(3);
    renameSync(folder, join(root, "gone"));
    for (const copy of moved) {
      await resume(copy);
      expect(outcomeOf(copy)).toEqual(outcome);
    }
  });

  it("starts from a pretrained folder, too, and names it by its path", async () => {
    const path = latestCheckpoint(whole, "base")!.folder;
    const changes = {
      arms: ["control"],
      model: { kind: "pretrained", path },
      ppo: { ...settings.ppo, steps: 1 },
    };
    const run = RunFolder.open((await train(config(changes), { root, name: "pretrained" })).folder);
    const { folder } = latestCheckpoint(run, "control/ppo")!;
    const { base_model_name_or_path: base } = JSON.parse(
      readFileSync(join(folder, "adapter_config.json"), "utf8"),
    );
    expect(base).toBe(path);
    await using engine = await Engine.create({ device: "cpu", threads: 1 });
    expect((await engine.loadModel(folder)).adapter?.rank).toBe(4);
  });

  it("trains with a shared critic, too", async () => {
    const changes = { arms: ["control"], ppo: { ...settings.ppo, critic: "shared", steps: 2 } };
    const run = RunFolder.open((await train(config(changes), { root, name: "shared" })).folder);
    const { folder } = latestCheckpoint(run, "control/ppo")!;
    expect(existsSync(join(folder, "value_head.safetensors"))).toBe(true);
    const { folder: exported } = await exportModel(run.path, { to: join(root, "shared-model") });
    await using engine = await Engine.create({ device: "cpu", threads: 1 });
    expect((await engine.loadModel(exported)).hasValueHead).toBe(false);
  });
});

describe("export", () => {
  it("writes a whole model that tells the same as the run's adapter", async () => {
    const to = join(root, "models", "first");
    expect(await exportModel(whole.path, { to })).toEqual({ folder: to, stage: "spa/ppo", step: 3 });
    expect(readdirSync(to).sort()).toEqual(
      [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
      ].filter((name) => readdirSync(latestCheckpoint(whole, "base")!.folder).includes(name)),
    );
    await using engine = await Engine.create({ device: "cpu", threads: 1 });
    await using merged = await engine.loadModel(to);
    await using base = await engine.loadModel(latestCheckpoint(whole, "base")!.folder);
    await using adapter = await base.loadAdapter(latestCheckpoint(whole, "spa/ppo")!.folder);
    const [logged] = whole.trajectories("evaluate/spa").read();
    const batch = { tokens: logged.tokens, offsets: [0, logged.tokens.length] };
    const [expected, actual] = [await adapter.logProbs(batch), await merged.logProbs(batch)];
    expect(Math.max(...actual.map((value, i) => Math.abs(value - expected[i])))).toBeLessThan(1e-4);
    expect(loadTokenizer(to).vocabularySize).toBe(merged.config.vocabularySize);
  });

  it("writes the adapter alone", async () => {
    const to = join(root, "adapter");
    await exportModel(whole.path, { to, stage: "spa/sft", adapter: true });
    const files = readdirSync(to);
    expect(files).toContain("adapter_model.safetensors");
    expect(files).not.toContain("model.safetensors");
    const { base_model_name_or_path: base } = JSON.parse(
      readFileSync(join(to, "adapter_config.json"), "utf8"),
    );
    expect(resolve(to, base)).toBe(latestCheckpoint(whole, "base")!.folder);
  });

  it("says why saving is refused, once, and leaves nothing", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    // The name is short enough for a folder, too long for the one aside in which it is made.
    const to = join(root, "refused", "x".repeat(250));
    const thrown = await exportModel(whole.path, { to }).catch((error: unknown) => error);
    await setImmediate();
    process.off("unhandledRejection", note);
    expect(String(thrown)).toContain("ENAMETOOLONG");
    expect(unhandled).toEqual([]);
    expect(readdirSync(join(root, "refused"))).toEqual([]);
  });

  it("refuses folders that are taken, and stages that are not there", async () => {
    const code = async (options: Parameters<typeof exportModel>[1]) =>
      (await rejection(exportModel(whole.path, options))).code;
    expect(await code({ to: whole.path })).toBe("BAD_ARGUMENT");
    expect(await code({ to: join(root, "x"), stage: "spa/none" })).toBe("UNKNOWN_NAME");
    expect(await code({ to: join(root, "x"), stage: "base", adapter: true })).toBe("BAD_ARGUMENT");
    expect(existsSync(join(root, "x"))).toBe(false);
  });
});
