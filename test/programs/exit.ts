// Ends in the way that argv[2] names while an engine is alive; ../exit.test.ts looks at how the process ends.

import { Engine } from "../../lib/engine/engine.ts";
import type { SpaError } from "../../lib/errors.ts";

const mode = process.argv[2];
const engine = await Engine.create({ device: "cpu", threads: 1 });
const model = await engine.createModel({
  vocabularySize: 64,
  hiddenSize: 64,
  intermediateSize: 128,
  layers: 4,
  heads: 4,
  maxPositions: 256,
});
const rows = (count: number) => ({
  tokens: Int32Array.from({ length: count * 100 }, (_, i) => i % 64),
  offsets: Uint32Array.from({ length: count + 1 }, (_, i) => i * 100),
});
const long = rows(20_000);
const short = rows(2);

switch (mode) {
  case "undisposed": {
    const session = await model.openSession({ slots: 2, maxTokens: 64 });
    await session.extend([0, 1], { tokens: [1, 2, 3], offsets: [0, 1, 3] });
    await session.generate([0, 1], { maxNewTokens: 4 });
    console.log("end of the script");
    break;
  }
  case "pending":
    // Nobody waits for it, but the process does.
    void model.logProbs(short).then((values) => console.log(`settled ${values.length}`));
    break;
  case "exit":
    for (let i = 0; i < 50; i++) void model.logProbs(short);
    await new Promise<void>((resolve) => {
      void model.logProbs(long, { onProgress: () => resolve() });
    });
    process.exit(7);
    break;
  case "exit at once":
    void model.logProbs(long);
    process.exit(7);
    break;
  case "throw":
    void model.logProbs(long);
    throw new Error("thrown on purpose");
  case "abort": {
    const controller = new AbortController();
    const job = model.logProbs(long, { signal: controller.signal, onProgress: () => controller.abort() });
    const waiting = model.logProbs(long, { signal: controller.signal });
    for (const outcome of await Promise.allSettled([job, waiting])) {
      console.log(outcome.status === "rejected" ? (outcome.reason as SpaError).code : "resolved");
    }
    break;
  }
  case "disposing":
    void engine.dispose().then(() => console.log("disposed"));
    break;
  case "forgotten":
    // Engines that are garbage end on their own.
    for (let i = 0; i < 20; i++) {
      const other = await Engine.create({ device: "cpu", threads: 1 });
      await other.createModel({ vocabularySize: 8, hiddenSize: 8, intermediateSize: 8, layers: 1, heads: 1 });
    }
    (globalThis as { gc?: () => void }).gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
    console.log(`still here ${(await model.logProbs(short)).length}`);
    break;
}
