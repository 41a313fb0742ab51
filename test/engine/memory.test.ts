// Memory that is given back, and memory that there is not.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTrainer, type Engine } from "../../lib/index.ts";
import { failure, makeEngine, pack, smallShape, someRows } from "./fixtures.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await makeEngine();
});
afterAll(() => engine.dispose());

setFlagsFromString("--expose_gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Resident memory without JavaScript's own heap, whose size is V8's choice. */
async function nativeMemory(): Promise<number> {
  collectGarbage();
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  const { heapTotal, external, rss } = process.memoryUsage();
  return rss - heapTotal - external;
}

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
  // Allocators and collectors settle first.
  await nativeMemory();
  for (let i = 0; i < 400; i++) await round(i);
  const before = await nativeMemory();
  const counted = (await engine.memory()).current;
  for (let i = 0; i < 500; i++) await round(i);
  expect((await nativeMemory()) - before).toBeLessThan(12 * 2 ** 20);
  const { current, peak, limit } = await engine.memory();
  // The allocator has counted every tensor: none is left over.
  expect(current).toBe(counted);
  expect(peak).toBeGreaterThan(current);
  expect(limit).toBeNull();
});

test("memory returns to the system", async () => {
  const big = { ...smallShape, vocabularySize: 50_000, hiddenSize: 256 };
  await (await engine.createModel(big)).dispose();
  const before = await nativeMemory();
  for (let i = 0; i < 5; i++) await (await engine.createModel(big)).dispose();
  const after = await nativeMemory();
  expect(after - before).toBeLessThan(60 * 2 ** 20);
});

test("more than the machine has is OUT_OF_MEMORY, and the engine goes on", async () => {
  const huge = { ...smallShape, vocabularySize: 1_000_000_000, hiddenSize: 65_536 };
  const error = await failure(engine.createModel(huge), "OUT_OF_MEMORY");
  expect(error.message.length).toBeLessThan(400);
  expect(error.message).not.toContain("\n");
  expect((await engine.createModel(smallShape)).parameterCount).toBeGreaterThan(0);
});
