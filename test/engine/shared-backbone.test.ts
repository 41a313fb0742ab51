// Several adapters on one backbone: what they share, what each has of its own.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTrainer, type Engine, type Model, type TrainerOptions } from "../../lib/index.ts";
import { readParts } from "../formats/safetensors-file.ts";
import {
  failure,
  fingerprint,
  fixture,
  makeEngine,
  pack,
  scratchFolder,
  smallShape,
  someRows,
} from "./fixtures.ts";

let engine: Engine;
let base: Model;
beforeAll(async () => {
  engine = await makeEngine();
  base = await engine.loadModel(fixture("qwen2_tiny"));
});
afterAll(() => engine.dispose());

describe("models on one backbone", () => {
  test("a policy, its critic and its reference", async () => {
    const own = await engine.createModel(smallShape);
    const policy = await own.addAdapter({ rank: 4, alpha: 8, dropout: 0.1 });
    // Weights live as long as a model uses them.
    await own.dispose();
    const critic = await policy.clone({ valueHead: true });
    const start = await policy.clone();
    const bare = await policy.backbone();
    const before = await fingerprint(bare);
    expect(await fingerprint(policy)).toEqual(before);
    const batch = pack(someRows([12, 8, 5]));
    const length = batch.tokens.length;
    const mask = new Uint8Array(length).fill(1);
    const ones = new Float32Array(length).fill(1);
    const trainer = createTrainer(policy, { critic, seed: 3 });
    const versions = [policy.version, critic.version, start.version];
    const metrics = await trainer.step(
      {
        ...batch,
        mask,
        oldLogProbs: await policy.logProbs(batch),
        advantages: Float32Array.from({ length }, (_, i) => Math.sin(i)),
        values: { mask, oldValues: new Float32Array(length), returns: ones },
      },
      { kind: "ppo" },
    );
    expect(metrics.criticGradientNorm).toBeGreaterThan(0);
    expect([policy.version, critic.version, start.version]).toEqual([
      versions[0] + 1,
      versions[1] + 1,
      versions[2],
    ]);
    expect(await fingerprint(policy)).not.toEqual(before);
    expect(await fingerprint(start)).toEqual(before);
    expect(await fingerprint(bare)).toEqual(before);
    await start.copyFrom(policy);
    expect(await fingerprint(start)).toEqual(await fingerprint(policy));

    const folder = scratchFolder();
    await trainer.saveState(folder);
    const names = Object.keys(readParts(join(folder, "optimizer.safetensors")).header);
    expect(names.filter((name) => !name.includes("lora_")).sort()).toEqual(["updates"]);
  });

  test("a change of the backbone shows in what is on it", async () => {
    const own = await engine.createModel(smallShape);
    const model = await own.addAdapter({ rank: 2, alpha: 2 });
    const bare = await model.backbone();
    const session = await model.openSession({ slots: 1, maxTokens: 20 });
    await session.extend([0], pack([[1, 2, 3]]));
    const { version } = model;
    const batch = pack(someRows([9]));
    await createTrainer(own).step({ ...batch, mask: new Uint8Array(9).fill(1) }, { kind: "sft" });
    expect(model.version).toBe(version + 1);
    expect(bare.version).toBe(own.version);
    await failure(session.generate([0], { maxNewTokens: 1 }), "STALE_CACHE");
    expect(await fingerprint(model)).toEqual(await fingerprint(own));
  });

  test("activation checkpointing makes the same dropout masks again; 8-bit moments train an adapter, too", async () => {
    const batch = pack(someRows([30, 20, 11]));
    const mask = new Uint8Array(batch.tokens.length).fill(1);
    const own = await engine.createModel(smallShape);
    const trained = async (options: TrainerOptions) => {
      await using model = await own.addAdapter({ rank: 4, alpha: 8, dropout: 0.2, seed: 1 });
      await using trainer = createTrainer(model, { seed: 2, ...options });
      let loss = 0;
      for (let step = 0; step < 4; step++)
        ({ loss } = await trainer.step({ ...batch, mask }, { kind: "sft" }));
      return { loss, logProbs: await fingerprint(model) };
    };
    const plain = await trained({});
    expect(await trained({ activationCheckpointing: true })).toEqual(plain);
    const small = await trained({ moments: "int8" });
    expect(Math.abs(small.loss - plain.loss)).toBeLessThan(0.02);
  });

  test("the same seed gives the same adapter", async () => {
    const digest = async (seed: number) => {
      await using model = await base.addAdapter({ rank: 2, alpha: 2, seed });
      const folder = scratchFolder();
      await model.saveAdapter(folder);
      return readFileSync(join(folder, "adapter_model.safetensors"));
    };
    expect((await digest(1)).equals(await digest(1))).toBe(true);
    expect((await digest(1)).equals(await digest(2))).toBe(false);
  });

  test("an adapter ends with its own sessions and trainers, not with its neighbours", async () => {
    const own = await engine.createModel(smallShape);
    const [first, second] = [
      await own.addAdapter({ rank: 2, alpha: 2 }),
      await own.addAdapter({ rank: 2, alpha: 2 }),
    ];
    const session = await first.openSession({ slots: 1, maxTokens: 20 });
    const trainer = createTrainer(first);
    await first.dispose();
    await failure(session.extend([0], pack([[1, 2]])), "DISPOSED");
    await failure(trainer.saveState(scratchFolder()), "DISPOSED");
    await failure(first.merge(), "DISPOSED");
    await failure(first.backbone(), "DISPOSED");
    expect(await fingerprint(second)).toEqual(await fingerprint(own));
    await own.dispose();
    await failure(own.addAdapter({ rank: 2, alpha: 2 }), "DISPOSED");
    expect((await fingerprint(second)).length).toBeGreaterThan(0);
  });

  test("what makes no sense is refused", async () => {
    await using model = await base.addAdapter({ rank: 2, alpha: 2 });
    await failure(model.addAdapter({ rank: 2, alpha: 2 }), "BAD_ARGUMENT");
    await failure(model.loadAdapter(fixture("lora_tiny")), "BAD_ARGUMENT");
    await failure(model.save(scratchFolder()), "BAD_ARGUMENT");
    await failure(base.saveAdapter(scratchFolder()), "BAD_ARGUMENT");
    await failure(base.merge(), "BAD_ARGUMENT");
    await failure(base.backbone(), "BAD_ARGUMENT");
    await failure(base.copyFrom(model), "BAD_ARGUMENT");
    await failure(base.addAdapter({ rank: 0, alpha: 2 }), "BAD_ARGUMENT");
    await failure(base.addAdapter({ rank: 2, alpha: 2, targets: [] }), "BAD_ARGUMENT");
    await failure(base.addAdapter({ rank: 2, alpha: 2, dropout: 1 }), "BAD_ARGUMENT");
    const foreign = { rank: 2, alpha: 2, target: ["q_proj"] };
    await failure(base.addAdapter(foreign), "BAD_ARGUMENT");
  });
});
