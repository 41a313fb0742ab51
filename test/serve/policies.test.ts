// Adapters by name on one backbone, and a server that follows a run.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { createTrainer, Engine, resume, train } from "../../lib/index.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { follow } from "../../lib/serve/follow.ts";
import { Policies, type PolicyOptions } from "../../lib/serve/policies.ts";
import { chooseCheckpoint } from "../../lib/stages/choose-checkpoint.ts";
import { failure } from "../engine/fixtures.ts";
import { scratchFolder, snapshotRun, tinyConfig } from "../stages/tiny-run.ts";
import { serveModel } from "./fixtures.ts";

const prompt = { prompt: [1, 2, 3, 4], max_tokens: 12, temperature: 0, return_token_ids: true };

async function idsOf(url: string, model: string): Promise<number[]> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ ...prompt, model });
  const response = await fetch(`${url}/v1/completions`, { method: "POST", headers, body });
  const { choices } = (await response.json()) as { choices: { token_ids: number[] }[] };
  return choices[0].token_ids;
}

/** Two adapters that have learnt something, each another thing. */
async function writeAdapters(folder: string): Promise<PolicyOptions> {
  await using engine = await Engine.create({ device: "cpu", threads: 1 });
  await using base = await engine.loadModel(join(folder, "tiny"));
  const adapters = [];
  for (const [name, token] of [
    ["careful", 20],
    ["bold", 30],
  ] as const) {
    await using adapter = await base.addAdapter({ rank: 4, alpha: 16, seed: token });
    await using trainer = createTrainer(adapter, { optimizer: { learningRate: 5e-2 } });
    const tokens = Int32Array.from({ length: 24 }, (_, index) => (index % 4 === 3 ? token : index % 4));
    for (let step = 0; step < 5; step++)
      await trainer.step({ tokens, offsets: [0, 24], mask: new Uint8Array(24).fill(1) }, { kind: "sft" });
    await adapter.saveAdapter(join(folder, name), { base: "../tiny" });
    adapters.push({ name, folder: join(folder, name) });
  }
  return { adapters };
}

const served = serveModel({ slots: 2 }, {}, writeAdapters);

test("adapters are models by their names, on the weights of one", async () => {
  const { url } = served.server;
  const { data } = (await (await fetch(`${url}/v1/models`)).json()) as {
    data: { id: string; parent: string }[];
  };
  expect(data.map(({ id, parent }) => [id, parent])).toEqual([
    ["tiny", null],
    ["careful", "tiny"],
    ["bold", "tiny"],
  ]);
  const answers = await Promise.all(["tiny", "careful", "bold"].map((name) => idsOf(url, name)));
  expect(new Set(answers.map(String)).size).toBe(3);
  for (const [index, { sampler }] of served.policies.models.entries()) {
    await using session = await sampler.model.openSession({ slots: 1, maxTokens: 64 });
    await session.extend([0], { tokens: prompt.prompt, offsets: [0, 4] });
    const { tokens } = await session.generate([0], { maxNewTokens: 12, temperature: 0 });
    expect(answers[index].slice(0, tokens.length)).toEqual([...tokens].slice(0, answers[index].length));
  }
  const twice = [{ name: "tiny", folder: join(served.folder, "bold") }];
  await failure(Policies.open(join(served.folder, "tiny"), { adapters: twice }), "BAD_ARGUMENT");
});

test("a server that follows a run takes over its newest checkpoint", async () => {
  const root = scratchFolder();
  const config = tinyConfig({ arms: ["control"], ppo: { steps: 2 }, base: { steps: 20 } });
  const early = join(root, "early");
  const progress = {
    stage: (id: string) => {
      if (id === "control/ppo") snapshotRun(join(root, "run"), early);
    },
    ...{ tick: () => {}, note: () => {}, done: () => {} },
  };
  const { folder } = await train(config, { root, name: "run", progress });
  await using policies = await Policies.open(early, { slots: 2 });
  const [model] = policies.models;
  expect(model.fingerprint).toMatch(/^base-/);
  const going = new AbortController();
  const notes: string[] = [];
  const { run, ...policy } = policies.policy;
  const following = follow(
    model,
    { ...policy, run: run! },
    { every: 0.05, signal: going.signal, onNote: (text) => notes.push(text) },
  );
  await resume(early);
  while (!model.fingerprint.startsWith("control-ppo-2")) await sleep(20);
  going.abort();
  await following;
  expect(notes.at(-1)).toBe("early is control-ppo-2 now");
  const newest = chooseCheckpoint(RunFolder.open(folder), undefined);
  await using trained = await policies.engine.loadModel(newest.folder);
  const row = { tokens: [5, 6, 7, 8, 9], offsets: [0, 5] };
  expect(await model.sampler.model.logProbs(row)).toEqual(await trained.logProbs(row));
});
