// Engines in the main thread and in workers; argv[2] names what happens. ../exit.test.ts looks at the result.
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { gae } from "../../lib/addon/advantage.ts";
import { Engine } from "../../lib/engine/engine.ts";
import { createTrainer } from "../../lib/engine/trainer.ts";
import { SpaError } from "../../lib/errors.ts";

const shape = {
  vocabularySize: 48,
  hiddenSize: 32,
  intermediateSize: 64,
  layers: 2,
  heads: 4,
  maxPositions: 256,
};
const rows = (count: number) => ({
  tokens: Int32Array.from({ length: count * 50 }, (_, i) => (i * 7) % 48),
  offsets: Uint32Array.from({ length: count + 1 }, (_, i) => i * 50),
});

/** Trains a little; the result is the same wherever it runs. */
async function train(): Promise<string> {
  await using engine = await Engine.create({ device: "cpu", threads: 1 });
  const model = await engine.createModel(shape, { seed: 5 });
  const trainer = createTrainer(model);
  const batch = rows(8);
  const mask = new Uint8Array(batch.tokens.length).fill(1);
  const losses = [];
  for (let i = 0; i < 15; i++) losses.push((await trainer.step({ ...batch, mask }, { kind: "sft" })).loss);
  const { returns } = gae({
    rewards: [0, 1],
    values: [0, 0],
    mask: [1, 1],
    offsets: [0, 2],
    gamma: 1,
    lambda: 1,
  });
  // Each environment throws its own class.
  const error = await model.logProbs({ tokens: [-1], offsets: [0, 1] }).catch((thrown: unknown) => thrown);
  return JSON.stringify([losses, [...returns], error instanceof SpaError]);
}

/** Works without end; says so once it is in full swing. */
async function workForever(): Promise<void> {
  const engine = await Engine.create({ device: "cpu", threads: 1 });
  const model = await engine.createModel(shape);
  const trainer = createTrainer(model, { microBatchTokens: 256 });
  const batch = rows(4000);
  const mask = new Uint8Array(batch.tokens.length).fill(1);
  const onProgress = () => parentPort!.postMessage("working");
  for (;;) {
    await Promise.all([
      trainer.step({ ...batch, mask }, { kind: "sft" }, { onProgress }),
      model.logProbs(batch, { onProgress }),
      model.clone(),
    ]);
  }
}

function message(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

/** Never returns from a callback that native code has called. */
async function hangInCallback(): Promise<void> {
  const engine = await Engine.create({ device: "cpu", threads: 1 });
  const model = await engine.createModel(shape);
  const onProgress = () => {
    parentPort!.postMessage("inside");
    for (;;);
  };
  await model.logProbs(rows(4000), { onProgress });
}

const start = (task: string) => new Worker(fileURLToPath(import.meta.url), { workerData: task });

if (!isMainThread) {
  if (workerData === "train") parentPort!.postMessage(await train());
  else if (workerData === "hang") await hangInCallback();
  else await workForever();
} else if (process.argv[2] === "together") {
  const workers = [start("train"), start("train")];
  const results = await Promise.all([train(), ...workers.map(message)]);
  console.log(new Set(results).size === 1 ? `the same ${results[0]}` : `different ${results.join(" ")}`);
} else if (process.argv[2] === "one after the other") {
  const results = [];
  for (let i = 0; i < 3; i++) results.push(await message(start("train")));
  console.log(new Set(results).size === 1 ? "the same" : "different");
} else if (process.argv[2] === "terminate in a callback") {
  const worker = start("hang");
  await message(worker);
  await worker.terminate();
  console.log("terminated");
} else {
  const alone = await train();
  for (let round = 0; round < 4; round++) {
    const workers = [start("forever"), start("forever")];
    await Promise.all(workers.map(message));
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  // And one before it has loaded anything.
  await start("forever").terminate();
  console.log((await train()) === alone ? "terminated" : "different");
}
