// A policy out of a run folder: what it answers, plays and is judged by.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FrozenLakeEnvironment } from "../../envs/index.ts";
import { Agent, createTrainer, evaluatePolicy, exportModel, packBatch, train } from "../../lib/index.ts";
import type { Results } from "../../lib/run/results.ts";
import { expectClose, failure, fixture } from "../engine/fixtures.ts";
import { tinyConfig } from "../stages/tiny-run.ts";

const size = { size: 3, slippery: false };
let root: string;
let run: string;
let results: Results;
let agent: Agent;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "spa-agent-"));
  const outcome = await train(tinyConfig({ ppo: { steps: 2 } }), { root, name: "first" });
  run = outcome.folder;
  results = outcome.results;
  agent = await Agent.load(run);
});
afterAll(async () => {
  await agent.dispose();
  rmSync(root, { recursive: true, force: true });
});

/** Log-probs of the tokens behind a prompt, by the packed path. */
async function scored(prompt: Int32Array, tokens: Int32Array): Promise<Float32Array> {
  const whole = Int32Array.of(...prompt, ...tokens);
  const logProbs = await agent.model.logProbs({ tokens: whole, offsets: [0, whole.length] });
  return logProbs.subarray(prompt.length);
}

test("an agent is its run's policy, with its prompts", async () => {
  expect([agent.name, agent.protocol.format]).toEqual(["first", "world-model"]);
  const level = "P__\n_O_\n__G";
  const environment = new FrozenLakeEnvironment(size);
  environment.reset({ level });
  const [byText, byEnvironment] = await Promise.all([
    agent.act(level, { seed: 4 }),
    agent.act(environment, { seed: 4 }),
  ]);
  expect(byText).toEqual(byEnvironment);
  expect(byText.messages).toEqual({ system: null, user: `Predict the next state and act:\n${level}` });
  expect(agent.tokenizer.decode(byText.tokens)).toContain(byText.reply);
  expectClose(byText.logProbs, await scored(byText.prompt, byText.tokens), 1e-4);
  expect(byText.valid).toBe(true);
  expect(byText.action).toBe(byText.actions[0]);
  expect(environment.actions).toEqual(expect.arrayContaining(byText.actions));
  expect(byText.observation).toBeTypeOf("string");
});

test("answers to many at once are those to each alone, and seeds decide them", async () => {
  const levels = ["P__\n_O_\n__G", "_P_\n_O_\nG__", "__P\nO__\nG__"];
  const asked = levels.flatMap((level) => [1, 2, 3].map((seed) => ({ level, seed })));
  const together = await Promise.all(asked.map(({ level, seed }) => agent.act(level, { seed })));
  for (const [index, { level, seed }] of asked.entries()) {
    const alone = await agent.act(level, { seed });
    expect(alone.reply).toBe(together[index].reply);
  }
  expect(new Set(together.map(({ reply }) => reply)).size).toBeGreaterThan(3);
  const [one, other] = await Promise.all([
    agent.act(levels[0], { temperature: 0 }),
    agent.act(levels[0], { temperature: 0 }),
  ]);
  expect(one).toEqual(other);
});

test("an agent plays levels by seed, by text and in environments of one's own", async () => {
  const turns: number[] = [];
  const onTurn = (_: unknown, number: number) => void turns.push(number);
  const played = await agent.play("frozen-lake", { level: "P__\n_O_\n__G", seed: 7, onTurn });
  expect(turns).toEqual(played.turns.map((_, index) => index + 1));
  const own = await agent.play(new FrozenLakeEnvironment(size), { level: "P__\n_O_\n__G", seed: 7 });
  expect(own).toEqual(played);
  const drawn = await agent.play(undefined, { level: 123, seed: 7 });
  expect(drawn.seed).toBe(123);
  expect((await agent.play(undefined, { level: 123, seed: 7 })).tokens).toEqual(drawn.tokens);
  const { tokens, segments, sampled, logProbs } = played;
  const expected = await agent.model.logProbs({ tokens, offsets: [...segments, tokens.length] });
  const ofSampled = expected.map((value, index) => value * sampled[index]);
  expectClose(logProbs, ofSampled, 1e-4);
  await failure(agent.play("frozen-lake", { level: "no level" }), "BAD_LEVEL");
  await failure(agent.play("frozen-sea"), "UNKNOWN_NAME");
});

test("an evaluation has the numbers of spa eval", async () => {
  const { worldModel, ...expected } = results.evaluations.spa;
  const { worldModel: own, ...evaluation } = await evaluatePolicy(agent);
  expect(evaluation).toEqual(expected);
  const { perplexity: _, ...quality } = worldModel!;
  expect(own).toEqual(quality);
  const few = await evaluatePolicy(agent, "frozen-lake", { levels: 2, samples: 3 });
  expect([few.levels, few.samples, few.k]).toEqual([2, 3, 3]);
  await using control = await Agent.load(run, { stage: "control/ppo" });
  const { worldModel: __, ...plain } = await evaluatePolicy(control);
  expect([control.protocol.format, plain]).toEqual(["plain", results.evaluations.control]);
});

test("an exported folder is an agent, too", async () => {
  const to = join(root, "exported");
  await exportModel(run, { to });
  const config = agent.config;
  await using exported = await Agent.load(to, { config });
  expect([exported.name, exported.protocol.format]).toEqual(["exported", "world-model"]);
  const state = "P__\n_O_\n__G";
  expect(await exported.act(state, { seed: 1 })).toEqual(await agent.act(state, { seed: 1 }));
  await using standard = await Agent.load(to, { settings: ["engine.threads=1", "protocol.maxTokens=512"] });
  expect([standard.config.preset, standard.config.protocol.style]).toEqual(["nano-frozen-lake", "nano"]);
});

test("what cannot be loaded or asked is one error", async () => {
  await failure(Agent.load(join(root, "nothing")), "BAD_CHECKPOINT");
  await failure(Agent.load(run, { stage: "spa/pop" }), "UNKNOWN_NAME");
  await failure(Agent.load(5 as unknown as string), "BAD_ARGUMENT");
  await failure(Agent.load(fixture("qwen2_tiny")), "BAD_TOKENIZER");
  await failure(agent.act("P".repeat(400)), "CAPACITY");
  await failure(agent.act(5 as unknown as string), "BAD_ARGUMENT");
  await failure(agent.act("P__\n_O_\n__G", { signal: AbortSignal.abort() }), "ABORTED");
  await failure(evaluatePolicy(agent, "frozen-lake", { levels: 0 }), "BAD_ARGUMENT");
});

test("a batch of plays has what was sampled, and the plain policy gradient follows their advantages", async () => {
  const plays = await Promise.all([1, 2, 3].map((seed) => agent.play(undefined, { level: 7, seed })));
  const batch = packBatch(plays, { advantages: [2, -1, 0.5] });
  const length = plays.reduce((sum, { tokens }) => sum + tokens.length, 0);
  expect([batch.tokens.length, batch.mask.length, batch.advantages.length]).toEqual([length, length, length]);
  expect(batch.mask).toEqual(Uint8Array.from(plays.flatMap(({ sampled }) => [...sampled])));
  await using model = await agent.model.clone();
  await using trainer = createTrainer(model, { optimizer: { learningRate: 1e-3 }, gradientClip: null });
  const metrics = await trainer.step(batch, { kind: "ppo", clipLow: null });
  // At a ratio of 1 the loss is minus the mean advantage of the sampled tokens.
  const counts = plays.map(({ sampled }) => sampled.reduce((sum, value) => sum + value, 0));
  const weighted = counts[0] * 2 - counts[1] + counts[2] * 0.5;
  expect(metrics.policyLoss).toBeCloseTo(-weighted / (counts[0] + counts[1] + counts[2]), 3);
  expect(metrics.clipFraction ?? 0).toBe(0);
  await failure(async () => packBatch(plays, { advantages: [1] }), "BAD_ARGUMENT");
});
