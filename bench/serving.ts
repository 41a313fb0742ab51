import { Agent, fetch } from "undici";
import { SeededGenerator } from "../lib/rollout/seeded-generator.ts";
import { ServedModel } from "../lib/serve/served-model.ts";
import { PolicyServer } from "../lib/serve/server.ts";
import { nanoTokenizer } from "../lib/text/nano-tokenizer.ts";
import type { BenchContext, Measurement } from "./measurement.ts";
import { alternate, median, seconds } from "./timing.ts";
import { promptBatch, rowsOf, type WorkloadSizes } from "./workload.ts";

/** Rows that are sampled at the same time, by the server and by the loop; clients that ask at the same time. */
const SLOTS = 32;
const CLIENTS = 64;

/** A prompt, and how many tokens are wanted behind it: from a quarter of the workload's length to seven quarters. */
interface Wanted {
  prompt: number[];
  newTokens: number;
}

function workOf(sizes: WorkloadSizes, vocabulary: number): Wanted[] {
  const random = new SeededGenerator("bench", "serving");
  const { tokens, offsets } = promptBatch(sizes, vocabulary);
  return rowsOf(tokens, offsets).map((prompt) => ({
    prompt,
    newTokens: Math.max(1, Math.round(sizes.newTokens * (0.25 + 1.5 * random.random()))),
  }));
}

/**
 * New tokens a second of a server on loopback, 64 clients that ask as soon as they have been answered, beside a plain loop in the
 * same process that samples the same prompts 32 at a time. How long answers take is the server's.
 */
export async function benchServing(context: BenchContext): Promise<Measurement[]> {
  const { model, sizes, rounds, clock } = context;
  const work = workOf(sizes, model.config.vocabularySize);
  const amount = work.reduce((sum, { newTokens }) => sum + newTokens, 0);
  const maxTokens = sizes.promptTokens + 2 * sizes.newTokens;
  // Token ids go in and out: any tokenizer will do.
  const served = await ServedModel.open({
    ...{ name: "bench", model, tokenizer: nanoTokenizer(), format: "plain", forced: "", parent: null },
    ...{ slots: SLOTS, context: maxTokens, seed: 1, fingerprint: "random" },
  });
  const latencies: number[] = [];
  const server = await PolicyServer.start({ models: [served], port: 0 });
  const dispatcher = new Agent({ connections: CLIENTS, pipelining: 1 });
  try {
    const serve = () => seconds(() => askAll(server.url, dispatcher, work, latencies), clock);
    const loop = () => seconds(() => sampleInBatches(context, work, maxTokens), clock);
    const [times, loopTimes] = await alternate([serve, loop], rounds);
    latencies.sort((left, right) => left - right);
    const at = (share: number) =>
      latencies[Math.min(latencies.length - 1, Math.floor(share * latencies.length))];
    const rate = (name: string, each: number[]): Measurement => ({
      ...{ name, unit: "tokens/s" },
      ...{ value: amount / median(each), best: amount / Math.min(...each) },
    });
    return [
      rate(`serving, ${CLIENTS} clients, ${SLOTS} slots`, times),
      rate(`generate loop, batches of ${SLOTS}`, loopTimes),
      { name: "serving: half of the answers within", unit: "s", value: at(0.5) },
      { name: "serving: 99 % of the answers within", unit: "s", value: at(0.99) },
    ];
  } finally {
    await dispatcher.close();
    await server.close(1);
    await served.sampler.dispose();
  }
}

async function askAll(
  url: string,
  dispatcher: Agent,
  work: readonly Wanted[],
  latencies: number[],
): Promise<void> {
  const left = [...work];
  const client = async () => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const begin = performance.now();
      const { prompt, newTokens } = next;
      const response = await fetch(`${url}/v1/completions`, {
        ...{ method: "POST", dispatcher, headers: { "content-type": "application/json" } },
        body: JSON.stringify({ prompt, max_tokens: newTokens, ignore_eos: true, seed: 1 }),
      });
      const answer = (await response.json()) as { usage?: { completion_tokens: number } };
      if (answer.usage?.completion_tokens !== newTokens)
        throw new Error(`${response.status}: ${JSON.stringify(answer)}`);
      latencies.push((performance.now() - begin) / 1000);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

/** The next rows begin when the last of a batch has ended. */
async function sampleInBatches(
  { model }: BenchContext,
  work: readonly Wanted[],
  maxTokens: number,
): Promise<void> {
  await using session = await model.openSession({ slots: SLOTS, maxTokens });
  for (let begin = 0; begin < work.length; begin += SLOTS) {
    const batch = work.slice(begin, begin + SLOTS);
    const slots = batch.map((_, slot) => slot);
    const offsets = Uint32Array.from({ length: batch.length + 1 }, (_, row) => row * batch[0].prompt.length);
    await session.extend(slots, { tokens: batch.flatMap(({ prompt }) => prompt), offsets });
    await session.generate(slots, { maxNewTokens: batch.map(({ newTokens }) => newTokens) });
    await session.releaseAll();
  }
}
