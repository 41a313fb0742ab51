import { samplingFlops } from "./flops.ts";
import { type BenchContext, type Measurement, measureContest } from "./measurement.ts";
import { promptBatch, rowsOf } from "./workload.ts";

/**
 * New tokens a second: prompts of 30 tokens, 70 sampled after each at temperature 1, prompt computation included. The
 * engine returns log-probs with the tokens in any case; the peer is timed without and with them.
 */
export async function benchSampling(context: BenchContext, withLogProbs: boolean): Promise<Measurement> {
  const { model, sizes } = context;
  const { rows, promptTokens, newTokens } = sizes;
  const prompts = promptBatch(sizes, model.config.vocabularySize);
  const slots = Uint32Array.from({ length: rows }, (_, slot) => slot);
  await using session = await model.openSession({ slots: rows, maxTokens: promptTokens + newTokens });
  const run = async () => {
    await session.extend(slots, prompts);
    const { tokens } = await session.generate(slots, { maxNewTokens: newTokens, temperature: 1 });
    if (tokens.length !== rows * newTokens)
      throw new Error(`${tokens.length} tokens instead of ${rows * newTokens}`);
  };
  return await measureContest(context, {
    name: withLogProbs ? "sampling with log-probs" : "sampling",
    unit: "tokens/s",
    amount: rows * newTokens,
    flops: samplingFlops(model.config, rows, promptTokens, newTokens),
    prepare: () => session.releaseAll(),
    run,
    peerTask: withLogProbs ? "sampleLogProbs" : "sample",
    peerBatch: { prompts: rowsOf(prompts.tokens, prompts.offsets), maxNewTokens: newTokens },
  });
}
