// Aborting, disposing, several engines, and the order of calls.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createTrainer, type Engine, type Model, type SpaError } from "../../lib/index.ts";
import {
  failure,
  fingerprint,
  makeEngine,
  pack,
  scratchFolder,
  smallShape,
  someRows,
  testEngine,
} from "./fixtures.ts";

/** Work that takes long enough to be interrupted: many micro-batches. */
const long = pack(someRows(Array.from({ length: 400 }, () => 100)));
const longMask = new Uint8Array(long.tokens.length).fill(1);
const short = pack(someRows([6, 5]));
const shortMask = new Uint8Array(11).fill(1);

const shape = { ...smallShape, hiddenSize: 64, intermediateSize: 128, layers: 4, maxPositions: 4096 };

async function setUp(engine: Engine) {
  const model = await engine.createModel(shape, { seed: 1 });
  const trainer = createTrainer(model, { microBatchTokens: 512 });
  const session = await model.openSession({ slots: 64, maxTokens: 4096 });
  return { model, trainer, session };
}

/** Fires the signal when the call first tells of its progress: it has begun, and is not over. */
function abortingOnProgress(): { signal: AbortSignal; onProgress: (done: number, total: number) => void } {
  const controller = new AbortController();
  return {
    signal: controller.signal,
    onProgress: (done, total) => {
      if (done < total) controller.abort(new Error("enough"));
    },
  };
}

describe("abort", () => {
  test("every long call takes a signal that has fired already", async () => {
    const engine = await testEngine();
    const { model, trainer, session } = await setUp(engine);
    await session.extend([0], pack(someRows([4])));
    const folder = scratchFolder();
    await model.save(folder);
    const reason = new Error("not wanted any more");
    const options = { signal: AbortSignal.abort(reason) };
    const calls = [
      engine.loadModel(folder, options),
      model.save(join(folder, "other"), options),
      model.logProbs(short, options),
      model.entropy(short, options),
      model.score(short, { logProbs: true, entropy: true }, options),
      session.extend([1, 2], short, options),
      session.generate([0], { maxNewTokens: 4, ...options }),
      trainer.step({ ...short, mask: shortMask }, { kind: "sft" }, options),
    ];
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "ABORTED" } });
      expect((outcome as PromiseRejectedResult).reason.cause).toBe(reason);
    }
    expect(session.lengthOf(1)).toBe(0);
    expect(trainer.stepCount).toBe(0);
  });

  test("scoring stops in the middle", async () => {
    const { model } = await setUp(await testEngine());
    const options = abortingOnProgress();
    const error = await failure(
      model.logProbs(pack(someRows(Array.from({ length: 2000 }, () => 100))), options),
      "ABORTED",
    );
    expect((error.cause as Error).message).toBe("enough");
    expect((await model.logProbs(short)).length).toBe(11);
  });

  test("a step stops in the middle and changes nothing", async () => {
    const { model, trainer } = await setUp(await testEngine());
    const before = await fingerprint(model);
    await failure(
      trainer.step({ ...long, mask: longMask }, { kind: "sft" }, abortingOnProgress()),
      "ABORTED",
    );
    expect(trainer.stepCount).toBe(0);
    expect(await fingerprint(model)).toEqual(before);
    await trainer.step({ ...short, mask: shortMask }, { kind: "sft" });
    expect(trainer.stepCount).toBe(1);
  });

  test("extend and generate stop in the middle and leave the slots as they were", async () => {
    const { model, session } = await setUp(await testEngine());
    const slots = Array.from({ length: 64 }, (_, i) => i);
    const prompts = pack(someRows(slots.map(() => 500)));
    const controller = new AbortController();
    const extending = session.extend(slots, prompts, { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    const outcome = await extending.then(
      () => "done",
      (error: SpaError) => error.code,
    );
    expect(["done", "ABORTED"]).toContain(outcome);
    expect(session.lengthOf(63)).toBe(outcome === "done" ? 500 : 0);
    await session.releaseAll();

    await session.extend([0, 1], short);
    // Slot 1 may stop after one token, and then there is progress while slot 0 goes on.
    const generating = session.generate([0, 1], { maxNewTokens: [4000, 1], ...abortingOnProgress() });
    await failure(generating, "ABORTED");
    expect([session.lengthOf(0), session.lengthOf(1)]).toEqual([6, 5]);
    const again = await session.generate([0, 1], { maxNewTokens: 3, temperature: 0 });
    const fresh = await model.openSession({ slots: 2, maxTokens: 32 });
    await fresh.extend([0, 1], short);
    expect((await fresh.generate([0, 1], { maxNewTokens: 3, temperature: 0 })).tokens).toEqual(again.tokens);
  });

  test("loading and saving stop in the middle and leave no file behind", async () => {
    const engine = await testEngine();
    const model = await engine.createModel({ ...shape, vocabularySize: 20_000, hiddenSize: 256 });
    const folder = scratchFolder();
    const outcome = await model.save(folder, abortingOnProgress()).then(
      () => "done",
      (error: SpaError) => error.code,
    );
    expect(readdirSync(folder).length).toBe(outcome === "ABORTED" ? 0 : 3);
    if (outcome === "ABORTED") await model.save(folder);
    const loading = engine.loadModel(folder, abortingOnProgress());
    expect(["done", "ABORTED"]).toContain(
      await loading.then(
        () => "done",
        (error: SpaError) => error.code,
      ),
    );
    expect(existsSync(join(folder, "model.safetensors"))).toBe(true);
  });

  test("a call that waits for its turn is rejected at once", async () => {
    const { model } = await setUp(await testEngine());
    const order: string[] = [];
    const controller = new AbortController();
    const running = model.logProbs(long).then(() => order.push("running"));
    const waiting = model.logProbs(short, { signal: controller.signal });
    const third = model.logProbs(short).then(() => order.push("third"));
    controller.abort();
    await failure(
      waiting.finally(() => order.push("aborted")),
      "ABORTED",
    );
    await Promise.all([running, third]);
    expect(order).toEqual(["aborted", "running", "third"]);
  });

  test("aborting when it is over changes nothing", async () => {
    const { model } = await setUp(await testEngine());
    const controller = new AbortController();
    await model.logProbs(short, { signal: controller.signal });
    controller.abort();
    expect((await model.logProbs(short)).length).toBe(11);
  });
});

describe("progress", () => {
  test("grows to the total", async () => {
    const { model, trainer } = await setUp(await testEngine());
    for (const call of [
      (onProgress: (done: number, total: number) => void) => model.logProbs(long, { onProgress }),
      (onProgress: (done: number, total: number) => void) =>
        trainer.step({ ...long, mask: longMask }, { kind: "sft" }, { onProgress }),
    ]) {
      const seen: [number, number][] = [];
      await call((done, total) => seen.push([done, total]));
      expect(seen.length).toBeGreaterThan(1);
      for (const [i, [done, total]] of seen.entries()) {
        expect(done).toBeLessThanOrEqual(total);
        if (i > 0) expect(done).toBeGreaterThan(seen[i - 1][0]);
      }
      expect(seen.at(-1)![0]).toBe(seen.at(-1)![1]);
    }
  });

  test("an error thrown by the callback ends the call with that error", async () => {
    const { model } = await setUp(await testEngine());
    const mine = new TypeError("in the callback");
    const call = model.logProbs(long, {
      onProgress: () => {
        throw mine;
      },
    });
    await expect(call).rejects.toBe(mine);
  });
});

describe("dispose", () => {
  test("twice is once; afterwards everything is DISPOSED", async () => {
    const engine = await makeEngine();
    const { model, trainer, session } = await setUp(engine);
    const first = engine.dispose();
    expect(engine.dispose()).toBe(first);
    await first;
    await engine[Symbol.asyncDispose]();
    const calls: (() => unknown)[] = [
      () => engine.createModel(shape),
      () => engine.loadModel("x"),
      () => engine.memory(),
      () => model.logProbs(short),
      () => model.save(scratchFolder()),
      () => model.clone(),
      () => model.openSession({ slots: 1, maxTokens: 8 }),
      () => createTrainer(model),
      () => trainer.step({ ...short, mask: shortMask }, { kind: "sft" }),
      () => trainer.saveState(scratchFolder()),
      () => trainer.loadState(scratchFolder()),
      () => session.extend([0, 1], short),
      () => session.fork(0, [1]),
      () => session.release([0]),
      () => session.releaseAll(),
    ];
    for (const call of calls) await failure(async () => call(), "DISPOSED");
    await Promise.all([model.dispose(), session.dispose(), trainer.dispose()]);
    expect([engine, model, session, trainer].map((object) => object.disposed)).toEqual([
      true,
      true,
      true,
      true,
    ]);
  });

  test("an engine lets the running call finish and rejects those that wait", async () => {
    const engine = await makeEngine();
    const { model } = await setUp(engine);
    let begun = () => {};
    const beginning = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const running = model.logProbs(long, { onProgress: begun });
    const waiting = [model.logProbs(short), model.clone()];
    await beginning;
    const disposal = engine.dispose();
    expect((await running).length).toBe(long.tokens.length);
    for (const outcome of await Promise.allSettled(waiting)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "DISPOSED" } });
    }
    await disposal;
  });

  test("a model lets calls made before finish, and ends its sessions and trainers", async () => {
    const engine = await testEngine();
    const { model, trainer, session } = await setUp(engine);
    const scoring = model.logProbs(short);
    const disposal = model.dispose();
    expect((await scoring).length).toBe(11);
    await failure(model.logProbs(short), "DISPOSED");
    await failure(session.extend([0, 1], short), "DISPOSED");
    await failure(trainer.step({ ...short, mask: shortMask }, { kind: "sft" }), "DISPOSED");
    await disposal;
    expect(await model.dispose()).toBeUndefined();
    expect((await engine.createModel(shape)).disposed).toBe(false);
  });

  test("sessions, trainers and critics end alone", async () => {
    const engine = await testEngine();
    const { model, trainer, session } = await setUp(engine);
    const critic = await model.clone({ valueHead: true });
    const both = createTrainer(model, { critic });
    await session.dispose();
    await trainer.dispose();
    await failure(session.extend([0, 1], short), "DISPOSED");
    await failure(trainer.step({ ...short, mask: shortMask }, { kind: "sft" }), "DISPOSED");
    await critic.dispose();
    await failure(both.step({ ...short, mask: shortMask }, { kind: "sft" }), "DISPOSED");
    expect((await model.logProbs(short)).length).toBe(11);
  });

  test("`await using` disposes", async () => {
    let escaped: Engine;
    {
      await using engine = await makeEngine();
      await using model = await engine.createModel(shape);
      await model.logProbs(short);
      escaped = engine;
    }
    expect(escaped.disposed).toBe(true);
  });
});

test("calls run in the order in which they were made, whatever object they are on", async () => {
  const engine = await testEngine();
  const model = await engine.createModel(smallShape);
  const trainer = createTrainer(model);
  const frozen = await model.clone();
  const before = await fingerprint(model);
  const step = trainer.step({ ...short, mask: shortMask }, { kind: "sft" });
  const copy = frozen.copyFrom(model);
  const second = trainer.step({ ...short, mask: shortMask }, { kind: "sft" });
  const between = fingerprint(frozen);
  await Promise.all([step, copy, second]);
  const after = await fingerprint(model);
  expect(await between).not.toEqual(before);
  expect(await between).not.toEqual(after);
  await frozen.copyFrom(model);
  expect(await fingerprint(frozen)).toEqual(after);
});

test("two engines work side by side to the same numbers", async () => {
  const engines = [await testEngine(), await testEngine()];
  const run = async (engine: Engine) => {
    const model: Model = await engine.createModel(smallShape, { seed: 2 });
    const trainer = createTrainer(model);
    for (let i = 0; i < 20; i++) await trainer.step({ ...short, mask: shortMask }, { kind: "sft" });
    return fingerprint(model);
  };
  const [a, b] = await Promise.all(engines.map(run));
  expect(a).toEqual(b);
});

test("a new event loop turn comes while a long call runs", async () => {
  const { trainer } = await setUp(await testEngine());
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await trainer.step({ ...long, mask: longMask }, { kind: "sft" });
  clearInterval(timer);
  expect(turns).toBeGreaterThan(5);
});
