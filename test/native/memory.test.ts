// Memory that is given back, and memory that there is not.
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTrainer, type Engine } from "../../lib/index.ts";
import { failure, makeEngine, pack, smallShape, someRows } from "./fixtures.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await makeEngine();
});
afterAll(() => engine.dispose());

test("memory is flat over 500 steps", async () => {
  // One activation that is lost at each step would be 25 MB in the end.
  const model = await engine.createModel({ ...smallShape, hiddenSize: 64 });
  const rows = pack(someRows([90, 40, 50, 20]));
  const mask = new Uint8Array(200).fill(1);
  const trainer = createTrainer(model);
  const session = await model.openSession({ slots: 4, maxTokens: 100 });
  const critic = await model.clone({ valueHead: true });
  const round = async (i: number) => {
    await trainer.step({ ...rows, mask }, { kind: "sft" });
    await model.score(rows, { logProbs: true, entropy: true });
    await critic.values(rows);
    if (i % 10 === 0) {
      await session.releaseAll();
      await session.extend([0, 1, 2, 3], rows);
      await session.generate([0, 1, 2, 3], { maxNewTokens: 8 });
      await (await model.clone()).dispose();
    }
  };
  for (let i = 0; i < 150; i++) await round(i);
  const { current: before } = await engine.memory();
  for (let i = 0; i < 500; i++) await round(i);
  const { current: after, peak } = await engine.memory();
  expect(after - before).toBeLessThan(16 * 2 ** 20);
  expect(peak).toBeGreaterThanOrEqual(after);
});

test("memory returns to the system", async () => {
  const big = { ...smallShape, vocabularySize: 50_000, hiddenSize: 256 };
  await (await engine.createModel(big)).dispose();
  const { current: before } = await engine.memory();
  for (let i = 0; i < 5; i++) await (await engine.createModel(big)).dispose();
  const { current: after } = await engine.memory();
  expect(after - before).toBeLessThan(60 * 2 ** 20);
});

test("more than the machine has is OUT_OF_MEMORY, and the engine goes on", async () => {
  const huge = { ...smallShape, vocabularySize: 1_000_000_000, hiddenSize: 65_536 };
  const error = await failure(engine.createModel(huge), "OUT_OF_MEMORY");
  expect(error.message.length).toBeLessThan(400);
  expect(error.message).not.toContain("\n");
  expect((await engine.createModel(smallShape)).parameterCount).toBeGreaterThan(0);
});
