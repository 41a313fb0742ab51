// Optimiser states: training goes on to the same numbers, and damaged files are refused.
import { readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTrainer, type Engine, type Model, type TrainerOptions } from "../../lib/index.ts";
import {
  failure,
  fingerprint,
  makeEngine,
  pack,
  scratchFolder,
  smallShape,
  someRows,
  testEngine,
} from "../engine/fixtures.ts";
import { editParts } from "./safetensors-file.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await makeEngine();
});
afterAll(() => engine.dispose());

describe("resume", () => {
  /** Trains `steps` updates from the trainer's own step count on. */
  async function train(model: Model, options: TrainerOptions, steps: number, load?: string, save?: string) {
    const trainer = createTrainer(model, options);
    if (load) await trainer.loadState(load);
    const critic = options.critic as Model | undefined;
    const losses = [];
    for (let i = 0; i < steps; i++) {
      const batch = pack(someRows([5 + (trainer.stepCount % 7), 12], 48, 1 + trainer.stepCount));
      const all = new Uint8Array(batch.tokens.length).fill(1);
      const returns = Float32Array.from(batch.tokens, (t) => t / 10);
      const metrics = critic
        ? await trainer.step(
            {
              ...batch,
              mask: all,
              oldLogProbs: await model.logProbs(batch),
              advantages: returns.map((x) => x - 2),
              values: { mask: all, oldValues: await critic.values(batch), returns },
            },
            { kind: "ppo" },
          )
        : await trainer.step({ ...batch, mask: all }, { kind: "sft" });
      losses.push(metrics.loss);
    }
    if (save) await trainer.saveState(save);
    await trainer.dispose();
    return losses;
  }

  test.each([
    { dtype: "float32", withCritic: false },
    { dtype: "float32", withCritic: true },
    { dtype: "bfloat16", withCritic: false },
  ] as const)(
    "100 steps = 50 + save + new objects + 50, $dtype, critic $withCritic",
    async ({ dtype, withCritic }) => {
      const folder = scratchFolder();
      const parts = (name: string) => ({
        actor: join(folder, name, "actor"),
        critic: join(folder, name, "critic"),
        state: join(folder, name),
      });
      const settings: TrainerOptions = {
        schedule: { kind: "cosine", warmupSteps: 10, totalSteps: 90, minimumRatio: 0.1 },
      };
      const start = async (own: Engine) => {
        const model = await own.createModel(smallShape, { dtype, seed: 9, initialization: "nano" });
        return { model, critic: withCritic ? await model.clone({ valueHead: true }) : undefined };
      };
      const finish = async (
        { model, critic }: { model: Model; critic?: Model | undefined },
        name: string,
      ) => {
        await model.save(parts(name).actor);
        await critic?.save(parts(name).critic);
      };
      const optionsOf = (critic: Model | undefined) => ({ ...settings, ...(critic && { critic }) });

      const whole = await start(engine);
      const losses = await train(whole.model, optionsOf(whole.critic), 100);
      await finish(whole, "whole");

      const first = await start(engine);
      const firstLosses = await train(
        first.model,
        optionsOf(first.critic),
        50,
        undefined,
        parts("half").state,
      );
      await finish(first, "half");

      const second = await testEngine();
      const model = await second.loadModel(parts("half").actor, { dtype });
      const critic = withCritic ? await second.loadModel(parts("half").critic, { dtype }) : undefined;
      const secondLosses = await train(model, optionsOf(critic), 50, parts("half").state);
      await finish({ model, critic }, "resumed");

      expect([...firstLosses, ...secondLosses]).toEqual(losses);
      for (const part of withCritic ? (["actor", "critic"] as const) : (["actor"] as const)) {
        const bytes = (name: string) => readFileSync(join(parts(name)[part], "model.safetensors"));
        expect(bytes("resumed").equals(bytes("whole"))).toBe(true);
      }
    },
  );

  test("what is saved is the state at the time of the call", async () => {
    const folder = scratchFolder();
    const model = await engine.createModel(smallShape);
    const rows = pack(someRows([9, 4]));
    const mask = new Uint8Array(13).fill(1);
    const trainer = createTrainer(model);
    await trainer.step({ ...rows, mask }, { kind: "sft" });
    const saving = [model.save(join(folder, "model")), trainer.saveState(folder)];
    const after = trainer.step({ ...rows, mask }, { kind: "sft" });
    await Promise.all(saving);
    const { loss } = await after;
    const again = await engine.loadModel(join(folder, "model"));
    const resumed = createTrainer(again);
    await resumed.loadState(folder);
    expect(resumed.stepCount).toBe(1);
    expect((await resumed.step({ ...rows, mask }, { kind: "sft" })).loss).toBe(loss);
    expect(await fingerprint(again)).toEqual(await fingerprint(model));
  });
});

describe("damaged files", () => {
  const batch = pack(someRows([8, 5]));
  const mask = new Uint8Array(13).fill(1);
  const tensors = "optimizer.safetensors";
  const state = "trainer.json";

  async function saved(): Promise<string> {
    const folder = scratchFolder();
    const trainer = createTrainer(await engine.createModel(smallShape));
    await trainer.step({ ...batch, mask }, { kind: "sft" });
    await trainer.saveState(folder);
    return folder;
  }

  const write = (text: string) => (folder: string) => writeFileSync(join(folder, state), text);
  const remove = (name: string) => (folder: string) => rmSync(join(folder, name));
  const embedding = "exp_avg.model.embed_tokens.weight";
  const cases: [string, RegExp, (folder: string) => void][] = [
    ["no trainer.json", /trainer\.json could not be read/, remove(state)],
    ["trainer.json that is not JSON", /not JSON/, write("x")],
    ["another version", /version 99/, write('{"version":99,"stepCount":1,"critic":false}')],
    ["a step count that is none", /stepCount/, write('{"version":1,"stepCount":-1,"critic":false}')],
    ["a critic's state", /saved with a critic/, write('{"version":1,"stepCount":1,"critic":true}')],
    ["no tensors", /optimizer\.safetensors: no such file/, remove(tensors)],
    [
      "truncated tensors",
      /truncated/,
      (f) => truncateSync(join(f, tensors), readFileSync(join(f, tensors)).length - 4),
    ],
    [
      "NaN",
      /exp_avg/,
      (f) => editParts(join(f, tensors), (_, data) => void data.writeFloatLE(Number.NaN, 16)),
    ],
    [
      "another model's tensors",
      /shape/,
      (f) => editParts(join(f, tensors), (h) => void h[embedding].shape.reverse()),
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
