import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine, type Model } from "../../lib/index.ts";
import { resume, train } from "../../lib/pipeline.ts";
import { latestCheckpoint } from "../../lib/run/checkpoint.ts";
import type { MetricsRow } from "../../lib/run/metrics.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { examplesFile, rowsFile } from "../../lib/stages/self-play/self-play.ts";
import { readExamples, readSftRows } from "../../lib/stages/sft/files.ts";
import { Role } from "../../lib/text/roles.ts";
import { tinyConfig, tinySettings, watchingProgress } from "./tiny-run.ts";

const root = mkdtempSync(join(tmpdir(), "spa-options-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The folder of a base model that answers in form. */
let base: string;
beforeAll(async () => {
  const settings = { arms: ["format-only"], ppo: { steps: 1, validateEvery: 0 } };
  const { folder } = await train(tinyConfig(settings), { root, name: "base" });
  base = latestCheckpoint(RunFolder.open(folder), "base")?.folder ?? "";
});

let runs = 0;

/** The format-only arm from the base with the given settings. */
function configOf(ppo: Record<string, unknown>, others: Record<string, unknown> = {}) {
  return tinyConfig({
    arms: ["format-only"],
    model: { kind: "pretrained", path: base },
    levels: { testLevels: 2, tuningLevels: 2 },
    ppo: { ...tinySettings.ppo, steps: 2, validateEvery: 0, ...ppo },
    ...others,
  });
}

/** Runs it; returns what its PPO stage logged, step by step. */
async function ppoRows(
  ppo: Record<string, unknown>,
  others: Record<string, unknown> = {},
): Promise<MetricsRow[]> {
  const { folder } = await train(configOf(ppo, others), { root, name: `run-${++runs}` });
  const rows = RunFolder.open(folder).metrics.read();
  return rows.filter(({ stage }) => stage === "format-only/ppo");
}

const number = (value: unknown): number => {
  expect(typeof value).toBe("number");
  return value as number;
};

describe("selfPlay.unchangedTurns", () => {
  /** The replies that self-play's data train on, by whether the state after the turn is the one before. */
  async function replies(unchangedTurns: number): Promise<{ changed: string[]; unchanged: string[] }> {
    const config = configOf(
      { steps: 1 },
      {
        arms: ["spa"],
        protocol: { ...tinySettings.protocol, context: "turn", maxTokens: 200 },
        selfPlay: { policy: "random", trajectories: 40, unchangedTurns },
        sft: { ...tinySettings.sft, epochs: 1 },
      },
    );
    const { folder } = await train(config, { root, name: `unchanged-${unchangedTurns}` });
    const rows = await readSftRows(rowsFile(RunFolder.open(folder), "spa/self-play"));
    const stays = (reply: string) =>
      /<observation>(.*)<\/observation><prediction>\1<\/prediction>/s.test(reply);
    const all = rows.map(({ response }) => response);
    return { changed: all.filter((reply) => !stays(reply)), unchanged: all.filter(stays) };
  }

  it("keeps all turns that changed the state, and a share of the others", async () => {
    const [all, half, none] = [await replies(1), await replies(0.5), await replies(0)];
    expect(none.changed).toEqual(all.changed);
    expect(half.changed).toEqual(all.changed);
    expect(none.unchanged).toEqual([]);
    expect(half.unchanged.length).toBeGreaterThan(0);
    expect(half.unchanged.length).toBeLessThan(all.unchanged.length);
    expect(all.unchanged).toEqual(expect.arrayContaining(half.unchanged));
  });
});

describe("PPO's settings", () => {
  it("starts with ratios of one and log-probs that agree with the rollout's", async () => {
    const [first] = await ppoRows({ minibatch: 1000 });
    expect(number(first.updates)).toBe(1);
    expect(number(first.ratio_mean)).toBeCloseTo(1, 4);
    expect(Math.abs(number(first.approx_kl))).toBeLessThan(1e-4);
    expect(number(first.clip_fraction)).toBe(0);
    expect(number(first.logprob_difference_max)).toBeLessThan(1e-4);
    expect(number(first.entropy)).toBeGreaterThan(0);
    expect(number(first.grad_norm)).toBeGreaterThan(0);
    expect(number(first.critic_grad_norm)).toBeGreaterThan(0);
    expect(number(first.groups_kept)).toBe(2);
  });

  it("ends with the first collapse, also where it is stopped and goes on", async () => {
    // Replies without chance: the episodes of a level earn the same.
    const alike = { temperature: 1e-4, steps: 6, stopOnCollapse: true };
    expect((await ppoRows(alike)).map(({ step }) => step)).toEqual([1, 2, 3]);
    const controller = new AbortController();
    const notes: string[] = [];
    const progress = {
      ...watchingProgress((id, done) => {
        if (id === "format-only/ppo" && done === 3) controller.abort();
      }),
      note: (text: string) => notes.push(text),
    };
    const stopped = train(configOf({ ...alike }), {
      root,
      name: "stopped",
      progress,
      signal: controller.signal,
    });
    await expect(stopped).rejects.toMatchObject({ code: "ABORTED" });
    const { folder } = await resume(join(root, "stopped"), { progress });
    const run = RunFolder.open(folder);
    expect(run.stage("format-only/ppo")?.state).toBe("done");
    expect(latestCheckpoint(run, "format-only/ppo")?.step).toBe(3);
    expect(notes.filter((note) => note.includes("all episodes of a level earn the same"))).toHaveLength(1);
    expect(notes).toContainEqual(
      expect.stringMatching(/^format-only\/ppo has ended before its 6 steps, .*ppo\.stopOnCollapse/),
    );
  });

  it("pays for right states in training, and reports the environment's reward", async () => {
    const [paid] = await ppoRows({ rewards: { observation: 0.5, prediction: 0.5 } });
    const [unpaid] = await ppoRows({});
    for (const name of ["reward_mean", "success_rate", "observation_accuracy"])
      expect(paid[name]).toBe(unpaid[name]);
    // Of every well-formed turn half of what is right; of malformed ones nothing.
    const right = number(paid.observation_accuracy) + number(paid.prediction_accuracy);
    expect(number(paid.state_reward)).toBeLessThanOrEqual(0.5 * number(paid.turns_mean) * right + 1e-9);
    expect(unpaid.state_reward).toBeUndefined();
  });

  it("lets training episodes take ever fewer turns, and others as many as the protocol says", async () => {
    const interaction = { maxTurns: 4, annealTo: 1, over: 4 };
    const config = configOf(
      { steps: 4, interaction, optimizer: { learningRate: 1e-6 } },
      { protocol: { ...tinySettings.protocol, maxActions: 40, maxTokens: 1500 } },
    );
    const { folder } = await train(config, { root, name: "fewer-turns" });
    const run = RunFolder.open(folder);
    const most = (played: readonly { step: number; turns: unknown[] }[], step: number) =>
      Math.max(...played.filter((one) => one.step === step).map(({ turns }) => turns.length));
    const collected = run.trajectories("format-only/ppo").read();
    expect([1, 2, 3, 4].map((step) => most(collected, step))).toEqual([4, 3, 2, 1]);
    const rows = run.metrics.read().filter(({ stage }) => stage === "format-only/ppo");
    expect(rows.map((row) => row.turn_limit)).toEqual([4, 3, 2, 1]);
    expect(most(run.trajectories("evaluate/formatOnly").read(), 0)).toBe(2);
  });

  it("trains on ever farther levels, and plays the others as the run has them", async () => {
    const config = configOf(
      { steps: 3, curriculum: { fromDistance: 1, over: 3 } },
      { levels: { ...tinySettings.levels, maxDistance: 3 } },
    );
    const { folder } = await train(config, { root, name: "farther" });
    const run = RunFolder.open(folder);
    const farthest = (stage: string, step: number) =>
      Math.max(
        ...run
          .trajectories(stage)
          .read()
          .filter((one) => one.step === step)
          .map(({ distance }) => distance ?? Number.POSITIVE_INFINITY),
      );
    expect(farthest("format-only/ppo", 1)).toBe(1);
    expect(farthest("format-only/ppo", 2)).toBeLessThanOrEqual(2);
    expect(farthest("evaluate/formatOnly", 0)).toBe(3);
    const rows = run.metrics.read().filter(({ stage }) => stage === "format-only/ppo");
    expect(rows.map((row) => row.distance_limit)).toEqual([1, 2, 3]);
  });

  it("ends with its tokens, also where it is stopped and goes on", async () => {
    const spent = (await ppoRows({ steps: 3 })).map(
      (row) => number(row.tokens_sampled) + number(row.tokens_trained),
    );
    const tokenBudget = spent[0] + spent[1];
    expect((await ppoRows({ steps: 3, tokenBudget })).map(({ step }) => step)).toEqual([1, 2]);
    const controller = new AbortController();
    const progress = watchingProgress((id) => {
      if (id === "format-only/ppo") controller.abort();
    });
    const options = { root, name: "spent", progress, signal: controller.signal };
    const stopped = train(configOf({ steps: 3, tokenBudget: tokenBudget + 1 }), options);
    await expect(stopped).rejects.toMatchObject({ code: "ABORTED" });
    const run = RunFolder.open((await resume(join(root, "spent"))).folder);
    expect(latestCheckpoint(run, "format-only/ppo")?.step).toBe(3);
    const record = run.stage("format-only/ppo");
    expect(number(record?.tokensSampled) + number(record?.tokensTrained)).toBe(tokenBudget + spent[2]);
  });

  it("makes epochs over minibatches", async () => {
    const [first] = await ppoRows({ epochs: 3, minibatch: 3, filter: { kind: "none" } });
    expect(number(first.updates)).toBe(3 * 4);
    expect(number(first.tokens_trained)).toBe(
      3 * number((await ppoRows({ filter: { kind: "none" } }))[0].tokens_trained),
    );
  });

  it("stops a step's updates at the target KL", async () => {
    const eager = { learningRate: 3e-2 };
    const [first] = await ppoRows({ epochs: 5, minibatch: 3, targetKl: 1e-6, optimizer: eager });
    expect(number(first.updates)).toBeLessThan(5 * 2);
  });

  it("trains the critic alone while it warms up", async () => {
    const [first, second] = await ppoRows({ criticWarmup: 1 });
    expect(first.policy_loss).toBeUndefined();
    expect(number(first.value_loss)).toBeGreaterThan(0);
    expect(number(second.ratio_mean)).toBeCloseTo(1, 1);
  });

  it("works with a shared critic and without any", async () => {
    const [shared] = await ppoRows({ critic: "shared" });
    expect(number(shared.value_loss)).toBeGreaterThan(0);
    expect(shared.critic_grad_norm).toBeUndefined();
    const [none] = await ppoRows({ critic: "none" });
    expect(none.value_loss).toBeUndefined();
    expect(number(none.policy_loss)).not.toBeNaN();
  });

  it("takes a KL penalty to the policy at the start", async () => {
    const rows = await ppoRows({ loss: { klCoefficient: 0.1 }, optimizer: { learningRate: 1e-2 }, steps: 3 });
    expect(number(rows[0].kl)).toBeLessThan(number(rows[2].kl));
  });

  it("supervises the true states of its own rollouts", async () => {
    const [first] = await ppoRows({ loss: { supervisedCoefficient: 0.3 } });
    expect(number(first.supervised_loss)).toBeGreaterThan(0);
  });

  it("learns from what the environment answers, beside the policy's loss", async () => {
    const once = { minibatch: 1000, steps: 1 };
    const [plain] = await ppoRows(once);
    const [first] = await ppoRows({ ...once, loss: { environmentCoefficient: 0.3 } });
    const answers = number(first.environment_loss);
    expect(answers).toBeGreaterThan(0);
    expect(first.policy_loss).toBe(plain.policy_loss);
    expect(first.entropy).toBe(plain.entropy);
    expect(first.value_loss).toBe(plain.value_loss);
    expect(number(first.loss)).toBeCloseTo(number(plain.loss) + 0.3 * answers, 5);
    expect(plain.environment_loss).toBeUndefined();
    const [both] = await ppoRows({
      ...once,
      loss: { environmentCoefficient: 0.3, supervisedCoefficient: 0.1 },
    });
    expect(number(both.environment_loss)).toBeCloseTo(answers, 5);
    expect(number(both.loss)).toBeCloseTo(number(first.loss) + 0.1 * number(both.supervised_loss), 5);
  });

  it("measures in validations what replies say about their prompts", async () => {
    const validated = { validateEvery: 1, validationLevels: 2, validationSamples: 2, informationLevels: 2 };
    const rows = await ppoRows({ ...validated, steps: 1 });
    const measured = rows.filter((row) => "reply_information" in row);
    expect(measured.map(({ step }) => step)).toEqual([0, 1]);
    for (const row of measured) {
      expect(number(row.validation_pass_at_1)).not.toBeNaN();
      expect(number(row.reply_information)).toBeLessThanOrEqual(Math.log(2) + 1e-6);
    }
  });

  it("takes bi-level advantages, turn rewards, normalisation and top-p", async () => {
    const [first] = await ppoRows({
      advantage: { estimator: "bi-level", gamma: 0.99, lambda: 0.95 },
      rewards: { placement: "turn", normalization: "mean-std", grouping: "batch" },
      filter: { kind: "top-p", value: 0.9 },
      mask: "answer",
    });
    expect(number(first.updates)).toBeGreaterThan(0);
  });

  it("goes through a step in which all groups fare alike", async () => {
    // No action is carried out, no format penalty taken: every reward is 0.
    const rows = await ppoRows(
      { filter: { kind: "top-p", value: 0.9 } },
      { protocol: { ...tinySettings.protocol, formatPenalty: 0, maxNewTokens: 1 } },
    );
    expect(rows.map(({ groups_kept: kept }) => kept)).toEqual([0, 0]);
    expect(rows[0].policy_loss).toBeUndefined();
  });

  it("gives each turn a prompt of its own", async () => {
    const [first] = await ppoRows(
      {},
      { protocol: { ...tinySettings.protocol, context: "turn", maxTokens: 200 } },
    );
    expect(number(first.logprob_difference_max)).toBeLessThan(1e-4);
    expect(number(first.turns_mean)).toBeGreaterThan(1);
  });

  it("trains under full prompts with a forced <think>", async () => {
    const protocol = {
      ...tinySettings.protocol,
      style: "full",
      forceThink: true,
      maxTokens: 2000,
      maxNewTokens: 20,
    };
    const [first] = await ppoRows({}, { protocol });
    expect(number(first.updates)).toBeGreaterThan(0);
  });
});

describe("SFT's weights", () => {
  const saysChange = new Set<number>([
    Role.observation,
    Role.prediction,
    Role.answer,
    Role.answerEnd,
    Role.end,
  ]);

  /** The first line of SFT in a run whose only update sees all examples, and the mean over their tokens by hand. */
  async function firstLoss(weights: Record<string, number>) {
    const config = tinyConfig({
      arms: ["spa"],
      model: { kind: "pretrained", path: base },
      levels: { testLevels: 2, tuningLevels: 2 },
      sft: { epochs: 1, batchSize: 1000, validationShare: 0.3, validationLevels: 0, weights },
      ppo: { ...tinySettings.ppo, steps: 1, validateEvery: 0 },
    });
    const { folder } = await train(config, { root, name: `run-${++runs}` });
    const run = RunFolder.open(folder);
    const row = run.metrics.read().find(({ stage }) => stage === "spa/sft")!;
    const examples = await readExamples(examplesFile(run, "spa/self-play"));
    await using engine = await Engine.create({ device: "cpu", threads: 1 });
    const trained = await engine.loadModel(latestCheckpoint(run, "spa/sft")?.folder ?? "");
    const hand = async (model: Model, split: string) => {
      let [sum, total] = [0, 0];
      for (const { tokens, roles, trainable, changed } of examples.filter(
        (example) => example.split === split,
      )) {
        const logProbs = await model.logProbs({ tokens, offsets: [0, tokens.length] });
        for (const [at, logProb] of logProbs.entries()) {
          if (trainable[at] === 0) continue;
          const own = roles[at] === Role.prediction ? 3 : roles[at] === Role.observation ? 0 : 1;
          const factor = changed[at] === 1 && saysChange.has(roles[at]) ? 4 : 1;
          sum -= own * factor * logProb;
          total += own * factor;
        }
      }
      return sum / total;
    };
    const byHand = {
      loss: await hand(await engine.loadModel(base), "train"),
      validation: await hand(trained, "validation"),
    };
    return { row, byHand };
  }

  it("weigh the loss and its validation by parts of replies and by change", async () => {
    const { row, byHand } = await firstLoss({ prediction: 3, observation: 0, changed: 4 });
    expect(number(row.loss) / byHand.loss).toBeCloseTo(1, 4);
    expect(number(row.validation_loss) / byHand.validation).toBeCloseTo(1, 4);
    const { row: plain } = await firstLoss({});
    expect(Math.abs(number(plain.loss) - number(row.loss))).toBeGreaterThan(1e-3);
  });
});
