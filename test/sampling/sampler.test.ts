// Continuous batching against sessions that hold one request each.
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTrainer, type Engine, type Model } from "../../lib/index.ts";
import type { Sample, SampleRequest } from "../../lib/sampling/sample.ts";
import { Sampler } from "../../lib/sampling/sampler.ts";
import { expectClose, failure, fixture, makeEngine, pack, someRows } from "../engine/fixtures.ts";

let engine: Engine;
let model: Model;
beforeAll(async () => {
  engine = await makeEngine();
  model = await engine.loadModel(fixture("qwen2_tiny"));
});
afterAll(() => engine.dispose());

const maxTokens = 160;
const open = (slots: number) => Sampler.open({ model, slots, maxTokens, seed: 3 });

/** The same request alone in a fresh session. */
async function alone(request: SampleRequest): Promise<{ tokens: Int32Array; logProbs: Float32Array }> {
  const { prompt, maxNewTokens = maxTokens, temperature, topK, topP, stopTokens, stream } = request;
  await using session = await model.openSession({ slots: 1, maxTokens, seed: 3 });
  await session.extend([0], pack([prompt]));
  const options = { maxNewTokens, temperature, topK, topP, stopTokens, streams: [stream] };
  return await session.generate([0], options);
}

async function expectAlone(request: SampleRequest, sample: Sample): Promise<void> {
  const expected = await alone(request);
  expect(sample.tokens).toEqual(expected.tokens);
  expectClose(sample.logProbs, expected.logProbs, 1e-4);
}

/** Requests of many kinds: lengths, settings and beginnings in common. */
function requests(count: number): SampleRequest[] {
  const shared = someRows([70], 512, 9)[0];
  return someRows(
    Array.from({ length: count }, (_, index) => 3 + ((index * 7) % 29)),
    512,
    4,
  ).map((own, index) => ({
    prompt: index % 3 === 0 ? own : Int32Array.of(...shared.subarray(0, 40 + (index % 4) * 10), ...own),
    maxNewTokens: 1 + ((index * 11) % 40),
    temperature: index % 4 === 0 ? 0 : 1,
    ...(index % 5 === 0 && { topK: 20, topP: 0.9 }),
    stopTokens: index % 2 === 0 ? [7, 9] : [],
    stream: 100 + index,
  }));
}

test("whoever else samples, wherever the cache comes from: each sample is that of the request alone", async () => {
  await using sampler = await open(4);
  const all = requests(24);
  const samples = await Promise.all(
    all.map(async (request, index) => {
      for (let wait = 0; wait < index % 7; wait++) await turn();
      return await sampler.sample(request);
    }),
  );
  for (const [index, sample] of samples.entries()) await expectAlone(all[index], sample);
  const { active, waiting, sampledTokens, cachedTokens } = sampler.figures;
  expect([active, waiting]).toEqual([0, 0]);
  expect(sampledTokens).toBe(samples.reduce((sum, { tokens }) => sum + tokens.length, 0));
  expect(cachedTokens).toBe(samples.reduce((sum, { cached }) => sum + cached, 0));
  expect(cachedTokens).toBeGreaterThan(300);
});

test("a conversation finds its cache again, and so does a second one that leaves it on the way", async () => {
  await using sampler = await open(1);
  const [first, next, other] = someRows([50, 10, 12], 512, 2);
  const one = await sampler.sample({ prompt: first, maxNewTokens: 20, stream: 1 });
  const goesOn = Int32Array.of(...first, ...one.tokens, ...next);
  const two = await sampler.sample({ prompt: goesOn, maxNewTokens: 20, stream: 2 });
  const leaves = Int32Array.of(...first, ...one.tokens.subarray(0, 3), ...other);
  const three = await sampler.sample({ prompt: leaves, maxNewTokens: 20, stream: 3 });
  const again = await sampler.sample({ prompt: first, maxNewTokens: 20, stream: 1 });
  // The last token of a slot is in the cache once something comes after it, and may be forked before that.
  expect([one.cached, two.cached, three.cached, again.cached]).toEqual([0, 70, 53, 50]);
  await expectAlone({ prompt: goesOn, maxNewTokens: 20, stream: 2 }, two);
  await expectAlone({ prompt: leaves, maxNewTokens: 20, stream: 3 }, three);
  expect(again.tokens).toEqual(one.tokens);
});

test("equal prompts are computed once", async () => {
  await using sampler = await open(4);
  const [prompt] = someRows([60], 512, 8);
  const samples = await Promise.all(
    [1, 2, 3, 4].map((stream) => sampler.sample({ prompt, maxNewTokens: 8, stream })),
  );
  expect(samples.map(({ cached }) => cached)).toEqual([0, 60, 60, 60]);
  for (const [index, sample] of samples.entries())
    await expectAlone({ prompt, maxNewTokens: 8, stream: index + 1 }, sample);
});

test("tokens are told as they come, and what is told can end the request", async () => {
  await using sampler = await open(2);
  const [prompt] = someRows([20], 512, 6);
  const told: number[] = [];
  const onTokens = (tokens: Int32Array) => {
    told.push(...tokens);
    return told.length >= 10;
  };
  const sample = await sampler.sample({ prompt, stream: 1, onTokens });
  expect(sample.finish).toBe("told");
  expect(told).toEqual([...sample.tokens]);
  const whole = await sampler.sample({ prompt, stream: 1 });
  expect(whole.finish).toBe("context");
  expect(whole.tokens.length).toBe(maxTokens - 20);
  expect([...whole.tokens].slice(0, told.length)).toEqual(told);
  const failed = sampler.sample({
    prompt,
    stream: 1,
    onTokens: () => {
      throw new Error("from the listener");
    },
  });
  await expect(failed).rejects.toThrow("from the listener");
});

test("requests leave when they are aborted, wherever they stand, and take nobody with them", async () => {
  await using sampler = await open(1);
  const [prompt] = someRows([20], 512, 6);
  const controllers = [new AbortController(), new AbortController()];
  const under = sampler.sample({
    ...{ prompt, stream: 1, signal: controllers[0].signal },
    onTokens: () => void controllers[0].abort(),
  });
  const waits = sampler.sample({ prompt, stream: 2, signal: controllers[1].signal });
  const stays = sampler.sample({ prompt, stream: 3, maxNewTokens: 12 });
  controllers[1].abort(new Error("gone"));
  expect((await failure(waits, "ABORTED")).cause).toEqual(new Error("gone"));
  await failure(under, "ABORTED");
  await failure(sampler.sample({ prompt, stream: 4, signal: controllers[1].signal }), "ABORTED");
  await expectAlone({ prompt, stream: 3, maxNewTokens: 12 }, await stays);
});

test("what cannot be taken is refused at once", async () => {
  const sampler = await open(1);
  const [prompt] = someRows([20], 512, 6);
  const request = { prompt, stream: 1, maxNewTokens: 30 };
  await failure(sampler.sample({ ...request, prompt: new Int32Array(0) }), "BAD_ARGUMENT");
  await failure(sampler.sample({ ...request, prompt: Int32Array.of(512) }), "BAD_ARGUMENT");
  await failure(sampler.sample({ ...request, topP: 0 }), "BAD_ARGUMENT");
  await failure(sampler.sample({ ...request, prompt: new Int32Array(maxTokens) }), "CAPACITY");
  expect((await sampler.sample(request)).tokens.length).toBe(30);
  const ended = failure(sampler.sample(request), "DISPOSED");
  await sampler.dispose();
  await ended;
  await failure(sampler.sample(request), "DISPOSED");
  await failure(
    sampler.between(async () => {}),
    "DISPOSED",
  );
});

test("weights that change end what is under way; what comes after is sampled from the new ones", async () => {
  await using trained = await model.clone();
  await using trainer = createTrainer(trained, { optimizer: { learningRate: 1e-2 } });
  await using sampler = await Sampler.open({ model: trained, slots: 2, maxTokens, seed: 3 });
  const [prompt] = someRows([40], 512, 6);
  const batch = { ...pack([prompt]), mask: new Uint8Array(40).fill(1) };
  const before = await sampler.sample({ prompt, stream: 1, maxNewTokens: 12 });
  await trainer.step(batch, { kind: "sft" });
  const after = await sampler.sample({ prompt, stream: 1, maxNewTokens: 12 });
  expect([after.cached, after.tokens]).not.toEqual([40, before.tokens]);
  let stepped: Promise<unknown> | undefined;
  const stale = sampler.sample({
    ...{ prompt, stream: 1 },
    onTokens: () => {
      stepped ??= trainer.step(batch, { kind: "sft" });
      return undefined;
    },
  });
  await failure(stale, "STALE_CACHE");
  await stepped;
  const last = await sampler.sample({ prompt, stream: 1, maxNewTokens: 12 });
  expect([last.cached, last.tokens.length]).toEqual([0, 12]);
});

test("weights that change between requests disturb nobody", async () => {
  await using trained = await model.clone();
  await using trainer = createTrainer(trained, { optimizer: { learningRate: 1e-2 } });
  await using sampler = await Sampler.open({ model: trained, slots: 2, maxTokens, seed: 3 });
  const [prompt] = someRows([40], 512, 6);
  const batch = { ...pack([prompt]), mask: new Uint8Array(40).fill(1) };
  const order: string[] = [];
  const request = { prompt, stream: 1, maxNewTokens: 60 };
  const under = sampler.sample({
    ...request,
    onTokens: () => {
      if (order.length === 0) {
        order.push("begun");
        void sampler.between(() => trainer.step(batch, { kind: "sft" })).then(() => order.push("stepped"));
        void sampler.sample(request).then(() => order.push("next"));
      }
      return undefined;
    },
  });
  const before = (await under.finally(() => order.push("ended"))).tokens;
  const after = await sampler.sample(request);
  expect(order).toEqual(["begun", "ended", "stepped", "next"]);
  expect(after.tokens).not.toEqual(before);
  const thrown = sampler.between(() => Promise.reject(new Error("from the work")));
  await expect(thrown).rejects.toThrow("from the work");
  expect((await sampler.sample(request)).tokens).toEqual(after.tokens);
});
