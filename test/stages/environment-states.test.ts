import { afterAll, beforeAll, expect, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { createTrainer, type Engine } from "../../lib/index.ts";
import { packTrajectories } from "../../lib/rollout/batch.ts";
import type { Trajectory } from "../../lib/rollout/trajectory.ts";
import { TurnProtocol } from "../../lib/rollout/turn-protocol.ts";
import { type PpoData, trainBatch } from "../../lib/stages/ppo/batch.ts";
import { environmentStates } from "../../lib/stages/ppo/environment-states.ts";
import { supervisedRows, withSupervision } from "../../lib/stages/ppo/supervision.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { Role } from "../../lib/text/roles.ts";
import type { Tokenizer } from "../../lib/text/tokenizer.ts";
import { makeEngine } from "../engine/fixtures.ts";
import { publishedTokenizer } from "../text/published-tokenizers.ts";
import { protocolWith, trajectories } from "./blind-play.ts";
import { tinyShape } from "./tiny-run.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await makeEngine();
});
afterAll(() => engine.dispose());

/** The texts that a mask selects, one for each run of tokens. */
function selectedTexts(played: readonly Trajectory[], mask: Uint8Array, tokenizer: Tokenizer): string[] {
  const { tokens } = packTrajectories(played);
  const texts: string[] = [];
  for (let begin = 0; begin < mask.length; begin++) {
    if (mask[begin] === 0) continue;
    let end = begin;
    while (mask[end] === 1) end++;
    texts.push(tokenizer.decode(tokens.subarray(begin, end)));
    begin = end;
  }
  return texts;
}

const later = (played: readonly Trajectory[], form: "grid" | "structured") =>
  played.flatMap(({ turns }) => turns.slice(1).map(({ stateBefore }) => stateBefore[form]));

test.each(["grid", "structured"] as const)(
  "the states of all prompts but the first, shown as %s",
  async (form) => {
    const protocol = protocolWith({ promptState: form });
    const played = await trajectories(protocol);
    const mask = environmentStates(played, protocol);
    expect(selectedTexts(played, mask, nanoTokenizer())).toEqual(later(played, form));
    const { roles } = packTrajectories(played);
    expect(roles.every((role, token) => mask[token] === 0 || role === Role.environment)).toBe(true);
  },
);

test.each(["qwen2_5", "llama3_2"] as const)(
  "an LLM's prompts give the state, without rewards and instructions: %s",
  async (name) => {
    const tokenizer = publishedTokenizer(name);
    const { protocol: settings } = configSchema.parse({
      protocol: { style: "full", maxTurns: 3, maxTokens: 4096, promptState: "grid" },
    });
    const protocol = new TurnProtocol(tokenizer, settings, "world-model");
    const played = await trajectories(protocol);
    const texts = selectedTexts(played, environmentStates(played, protocol), tokenizer);
    // A token may hold the line break beside a state.
    expect(texts.map((text) => text.trim())).toEqual(later(played, "grid").map((text) => text.trim()));
  },
);

test("turns with prompts of their own hold no answers", async () => {
  const protocol = protocolWith({ context: "turn" });
  expect(environmentStates(await trajectories(protocol), protocol).includes(1)).toBe(false);
});

test("the loss is the mean negative log-prob of these tokens, and the policy's parts stay", async () => {
  const protocol = protocolWith();
  const played = await trajectories(protocol);
  // Written text stands for sampled text here.
  const whole = packTrajectories(played);
  const sampled = whole.roles.map((role) => Number(role >= Role.tag));
  const make = () => engine.createModel(tinyShape, { seed: 4, initialization: "nano" });
  const [model, alone] = [await make(), await make()];
  const logProbs = await model.logProbs(whole);
  const data: PpoData = {
    trajectories: played,
    batch: { ...whole, sampled, logProbs: logProbs.map((x, k) => x + 0.3 * Math.sin(k)) },
    lossMask: sampled,
    oldValues: new Float32Array(sampled.length),
    advantages: Float32Array.from(sampled, (_, k) => Math.cos(k)),
    returns: new Float32Array(sampled.length),
    referenceLogProbs: undefined,
  };
  const indices = Uint32Array.of(4, 1, 3);
  const plain = await createTrainer(alone).step(trainBatch(data, indices, false), { kind: "ppo" });
  data.environmentMask = environmentStates(played, protocol);
  const batch = trainBatch(data, indices, false);
  const [sum, count] = [...indices].reduce(
    ([sum, count], trajectory) => {
      const [begin, end] = whole.trajectoryOffsets.subarray(trajectory, trajectory + 2);
      const values = [...logProbs.subarray(begin, end)].filter((_, k) => data.environmentMask?.[begin + k]);
      return [sum - values.reduce((a, b) => a + b, 0), count + values.length];
    },
    [0, 0],
  );
  const loss = { kind: "ppo", environmentCoefficient: 0.5 } as const;
  const metrics = await createTrainer(model).step(batch, loss);
  expect(count).toBeGreaterThan(50);
  expect(metrics.environmentLoss).toBeCloseTo(sum / count, 5);
  const { environmentLoss: _, loss: total, gradientNorm: __, ...policy } = metrics;
  expect(plain).toMatchObject(policy);
  expect(total).toBeCloseTo(plain.loss + (0.5 * sum) / count, 5);

  // With the supervised rows behind them the tokens and their loss are the same.
  const both = withSupervision(
    batch,
    supervisedRows(played, protocol)!,
    indices,
    configSchema.parse({}).sft.weights,
  );
  const supervised = await createTrainer(await make()).step(both, { ...loss, supervisedCoefficient: 0.1 });
  expect(supervised.environmentLoss).toBeCloseTo(sum / count, 5);
  expect(supervised.policyLoss).toBeCloseTo(metrics.policyLoss!, 6);
  expect(supervised.supervisedLoss).toBeGreaterThan(0);
});

test.each([{ context: "turn" }, { maxTurns: 1 }])(
  "a loss on answers that there are not is refused: %s",
  (protocol) => {
    const ppo = { loss: { environmentCoefficient: 0.1 } };
    const { error } = configSchema.safeParse({ protocol, ppo });
    expect(error?.issues.map(({ path }) => path.join("."))).toEqual(["ppo.loss.environmentCoefficient"]);
  },
);
