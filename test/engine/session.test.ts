import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTrainer, type Engine, type Model, type Session } from "../../lib/index.ts";
import {
  expectClose,
  expectedOf,
  failure,
  fixture,
  makeEngine,
  pack,
  row,
  smallShape,
  someRows,
} from "./fixtures.ts";

let engine: Engine;
let model: Model;
beforeAll(async () => {
  engine = await makeEngine();
  model = await engine.loadModel(fixture("qwen2_tiny"));
});
afterAll(() => engine.dispose());

const vocabulary = 512;
const prompts = someRows([7, 19, 3, 12], vocabulary, 5);

async function withSession<T>(
  options: { slots: number; maxTokens: number; seed?: number },
  body: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await model.openSession(options);
  try {
    return await body(session);
  } finally {
    await session.dispose();
  }
}

/** What was held and sampled, scored by the packed path. */
async function packedLogProbs(rows: ArrayLike<number>[], temperature = 1): Promise<Float32Array[]> {
  const batch = pack(rows);
  const logProbs = await model.logProbs({ ...batch, temperature });
  return rows.map((_, i) => row(logProbs, batch.offsets, i));
}

describe("one numerics path", () => {
  test.each([0, 0.7, 1, 1.3])(
    "sampled log-probs equal those of the packed path, temperature %d",
    async (temperature) => {
      await withSession({ slots: 4, maxTokens: 96, seed: 3 }, async (session) => {
        await session.extend([0, 1, 2, 3], pack(prompts));
        const result = await session.generate([0, 1, 2, 3], {
          maxNewTokens: 40,
          temperature,
          topK: 20,
          topP: 0.95,
        });
        const rows = prompts.map((prompt, i) => [...prompt, ...row(result.tokens, result.offsets, i)]);
        const scored = await packedLogProbs(rows, temperature === 0 ? 1 : temperature);
        for (const [i, prompt] of prompts.entries()) {
          expectClose(row(result.logProbs, result.offsets, i), scored[i].subarray(prompt.length), 1e-4);
        }
      });
    },
  );

  test("prefill at once, in pieces, token by token and by fork end alike", async () => {
    const prompt = expectedOf("qwen2_tiny").long.input_ids.slice(0, 100);
    await withSession({ slots: 5, maxTokens: 160 }, async (session) => {
      await session.extend([0], pack([prompt]));
      for (const [begin, end] of [
        [0, 33],
        [33, 34],
        [34, 100],
      ])
        await session.extend([1], pack([prompt.slice(begin, end)]));
      for (const token of prompt) await session.extend([2], pack([[token]]));
      await session.extend([3], pack([prompt.slice(0, 50)]));
      await session.fork(3, [4]);
      await session.extend([4], pack([prompt.slice(50)]));
      const slots = [0, 1, 2, 4];
      const { tokens, offsets, logProbs } = await session.generate(slots, {
        maxNewTokens: 24,
        streams: [7, 7, 7, 7],
      });
      for (const i of [1, 2, 3]) {
        expect(row(tokens, offsets, i)).toEqual(row(tokens, offsets, 0));
        expectClose(row(logProbs, offsets, i), row(logProbs, offsets, 0), 1e-4);
      }
    });
  });

  test("arrays may be changed once a call has begun", async () => {
    const sample = (disturbs: boolean) =>
      withSession({ slots: 3, maxTokens: 64, seed: 5 }, async (session) => {
        const [batch, slots] = [pack(prompts.slice(0, 3)), Int32Array.of(2, 0, 1)];
        const disturb = (...arrays: (Int32Array | Uint32Array)[]) => {
          if (disturbs) for (const array of arrays) array.fill(2 ** 31 - 1);
        };
        const extending = session.extend(slots, batch);
        disturb(slots, batch.tokens, batch.offsets);
        await extending;
        const [all, limits, stops] = [Int32Array.of(0, 1, 2), Int32Array.of(5, 6, 7), Int32Array.of(1)];
        const generating = session.generate(all, { maxNewTokens: limits, stopTokens: stops });
        disturb(all, limits, stops);
        return { ...(await generating), lengths: [0, 1, 2].map((slot) => session.lengthOf(slot)) };
      });
    expect(await sample(true)).toEqual(await sample(false));
  });

  test("forks share a prompt and go their own ways", async () => {
    await withSession({ slots: 9, maxTokens: 64, seed: 11 }, async (session) => {
      await session.extend([8], pack([prompts[1]]));
      await session.fork(8, [0, 1, 2, 3, 4, 5, 6, 7]);
      expect(session.lengthOf(3)).toBe(prompts[1].length);
      const slots = [0, 1, 2, 3, 4, 5, 6, 7];
      const result = await session.generate(slots, { maxNewTokens: 12, temperature: 1.2 });
      const rows = slots.map((_, i) => [...prompts[1], ...row(result.tokens, result.offsets, i)]);
      expect(new Set(rows.map(String)).size).toBeGreaterThan(1);
      const scored = await packedLogProbs(rows, 1.2);
      for (const [i] of slots.entries()) {
        expectClose(row(result.logProbs, result.offsets, i), scored[i].subarray(prompts[1].length), 1e-4);
      }
      // The source is as it was.
      expect(session.lengthOf(8)).toBe(prompts[1].length);
      const again = await session.generate([8], { maxNewTokens: 12, temperature: 1.2, streams: [2] });
      expect(again.tokens).toEqual(row(result.tokens, result.offsets, 2));
    });
  });

  test("a fork of the first tokens is as if no others had come after them", async () => {
    await withSession({ slots: 4, maxTokens: 96, seed: 2 }, async (session) => {
      await session.extend([0], pack([prompts[1]]));
      const whole = [...prompts[1], ...(await session.generate([0], { maxNewTokens: 30 })).tokens];
      const lengths = [16, 17, 40];
      for (const [index, length] of lengths.entries()) await session.fork(0, [index + 1], { length });
      expect([1, 2, 3].map((slot) => session.lengthOf(slot))).toEqual(lengths);
      const { tokens, offsets, logProbs } = await session.generate([1, 2, 3], { maxNewTokens: 9 });
      const rows = lengths.map((length, i) => [...whole.slice(0, length), ...row(tokens, offsets, i)]);
      for (const [i, scored] of (await packedLogProbs(rows)).entries())
        expectClose(row(logProbs, offsets, i), scored.subarray(lengths[i]), 1e-4);
      await session.release([1]);
      await failure(session.fork(0, [1], { length: 0 }), "BAD_ARGUMENT");
      await failure(session.fork(0, [1], { length: whole.length + 1 }), "BAD_ARGUMENT");
    });
  });

  test("turns: extend after generate goes on where the sample ended", async () => {
    await withSession({ slots: 2, maxTokens: 128, seed: 1 }, async (session) => {
      const held: number[][] = [[...prompts[0]], [...prompts[2]]];
      const logProbs: number[][] = [prompts[0].map(() => 0), prompts[2].map(() => 0)].map((zeros) => [
        ...zeros,
      ]);
      await session.extend([0, 1], pack([prompts[0], prompts[2]]));
      for (let turn = 0; turn < 4; turn++) {
        const result = await session.generate([1, 0], { maxNewTokens: [5, 9], streams: [31, 30] });
        const added = someRows([4, 2], vocabulary, turn + 1);
        for (const [i, slot] of [1, 0].entries()) {
          held[slot].push(...row(result.tokens, result.offsets, i), ...added[slot]);
          logProbs[slot].push(...row(result.logProbs, result.offsets, i), ...added[slot].map(() => 0));
        }
        await session.extend([0, 1], pack(added));
      }
      const scored = await packedLogProbs(held);
      for (const slot of [0, 1]) {
        expect(session.lengthOf(slot)).toBe(held[slot].length);
        const sampled = logProbs[slot].map((value, i) => (value === 0 ? 0 : scored[slot][i]));
        expectClose(logProbs[slot], sampled, 1e-4);
      }
    });
  });
});

describe("sampling", () => {
  const sample = (
    seed: number,
    slots: number[],
    streams: number[],
    rows = slots.map((_, i) => prompts[i % 4]),
  ) =>
    withSession({ slots: 8, maxTokens: 96, seed }, async (session) => {
      await session.extend(slots, pack(rows));
      const { tokens, offsets } = await session.generate(slots, { maxNewTokens: 16, streams });
      return slots.map((_, i) => [...row(tokens, offsets, i)]);
    });

  test("a seed gives the same tokens, another one others", async () => {
    const first = await sample(1, [0, 1, 2, 3], [0, 1, 2, 3]);
    expect(await sample(1, [0, 1, 2, 3], [0, 1, 2, 3])).toEqual(first);
    expect(await sample(2, [0, 1, 2, 3], [0, 1, 2, 3])).not.toEqual(first);
    expect(await sample(1, [0, 1, 2, 3], [4, 5, 6, 7])).not.toEqual(first);
  });

  test("tokens depend on the stream, not on slot, order or company", async () => {
    const together = await sample(9, [0, 1, 2, 3], [100, 101, 102, 2 ** 40]);
    const reordered = await sample(
      9,
      [6, 2, 7, 0],
      [2 ** 40, 100, 102, 101],
      [prompts[3], prompts[0], prompts[2], prompts[1]],
    );
    expect(reordered).toEqual([together[3], together[0], together[2], together[1]]);
    const alone = await sample(9, [5], [102], [prompts[2]]);
    expect(alone[0]).toEqual(together[2]);
  });

  test("without streams the slots' numbers are the streams", async () => {
    await withSession({ slots: 4, maxTokens: 64, seed: 4 }, async (session) => {
      await session.extend([0, 1, 2, 3], pack(prompts));
      const { tokens, offsets } = await session.generate([2, 0], { maxNewTokens: 8 });
      const named = await sample(4, [2, 0], [2, 0], [prompts[2], prompts[0]]);
      expect([...row(tokens, offsets, 0)]).toEqual(named[0].slice(0, 8));
      expect([...row(tokens, offsets, 1)]).toEqual(named[1].slice(0, 8));
    });
  });

  test("frequencies follow the distribution", async () => {
    // One token ahead, many streams: counts of the likeliest token against its probability.
    await withSession({ slots: 400, maxTokens: 16, seed: 77 }, async (session) => {
      await session.extend([0], pack([prompts[0]]));
      const others = Array.from({ length: 399 }, (_, i) => i + 1);
      await session.fork(0, others);
      const { tokens } = await session.generate(others, { maxNewTokens: 1, temperature: 2 });
      await session.release(others);
      await session.fork(0, [1]);
      const best = (await session.generate([1], { maxNewTokens: 1, temperature: 0 })).tokens[0];
      const rows = [[...prompts[0], best]];
      const probability = Math.exp((await packedLogProbs(rows, 2))[0][prompts[0].length]);
      const share = tokens.filter((token) => token === best).length / others.length;
      const deviation = Math.sqrt((probability * (1 - probability)) / others.length);
      expect(Math.abs(share - probability)).toBeLessThan(4 * deviation + 1e-9);
    });
  });

  test("topK 1 and a tiny topP are greedy", async () => {
    const run = (options: { temperature: number; topK?: number; topP?: number }) =>
      withSession({ slots: 1, maxTokens: 64 }, async (session) => {
        await session.extend([0], pack([prompts[1]]));
        return (await session.generate([0], { maxNewTokens: 12, ...options })).tokens;
      });
    const greedy = await run({ temperature: 0 });
    expect(await run({ temperature: 1.5, topK: 1 })).toEqual(greedy);
    expect(await run({ temperature: 1.5, topP: 1e-6 })).toEqual(greedy);
  });

  test("a row ends with a stop token, its limit, or its slot's maximum", async () => {
    await withSession({ slots: 3, maxTokens: 30, seed: 2 }, async (session) => {
      const { prompt, continuation } = expectedOf("qwen2_tiny").greedy;
      await session.extend([0, 1, 2], pack([prompt, prompt, [...prompt, ...continuation.slice(0, 18)]]));
      const stop = continuation[5];
      const first = await session.generate([0], { maxNewTokens: 20, temperature: 0, stopTokens: [stop] });
      expect([...first.tokens]).toEqual(continuation.slice(0, continuation.indexOf(stop) + 1));
      expect(first.finish).toEqual(["stop"]);
      const rest = await session.generate([1, 2], { maxNewTokens: [6, 50], temperature: 0 });
      expect(rest.finish).toEqual(["length", "context"]);
      expect([...rest.offsets]).toEqual([0, 6, 10]);
      expect(session.lengthOf(2)).toBe(30);
      const error = await failure(session.generate([2], { maxNewTokens: 5 }), "CAPACITY");
      expect(error.message).toMatch(/slot 2 is full.*30/);
    });
  });
});

describe("slots", () => {
  test("lengths follow extend, fork, generate and release; freed slots start anew", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            kind: fc.constantFrom("extend", "fork", "generate", "release"),
            slot: fc.nat(3),
            other: fc.nat(3),
            count: fc.integer({ min: 1, max: 9 }),
          }),
          { maxLength: 20 },
        ),
        (actions) =>
          withSession({ slots: 4, maxTokens: 24, seed: 1 }, async (session) => {
            const held: number[][] = [[], [], [], []];
            for (const { kind, slot, other, count } of actions) {
              if (kind === "extend" && held[slot].length + count <= 24) {
                const [tokens] = someRows([count], vocabulary, count + slot);
                await session.extend([slot], pack([tokens]));
                held[slot].push(...tokens);
              } else if (kind === "fork" && held[slot].length > 0 && held[other].length === 0) {
                await session.fork(slot, [other]);
                held[other] = [...held[slot]];
              } else if (kind === "generate" && held[slot].length > 0) {
                const { tokens, logProbs } = await session.generate([slot], { maxNewTokens: count });
                const scored = (await packedLogProbs([[...held[slot], ...tokens]]))[0];
                expectClose(logProbs, scored.subarray(held[slot].length), 1e-4);
                held[slot].push(...tokens);
              } else if (kind === "release") {
                await session.release([slot]);
                held[slot] = [];
              }
              expect([0, 1, 2, 3].map((i) => session.lengthOf(i))).toEqual(
                held.map((tokens) => tokens.length),
              );
            }
          }),
      ),
      { numRuns: 12 },
    );
  });

  test("capacity errors name slot, length and maximum, and change nothing", async () => {
    await withSession({ slots: 3, maxTokens: 20 }, async (session) => {
      await session.extend([1], pack([prompts[3]]));
      const error = await failure(session.extend([0, 1], pack([prompts[2], prompts[3]])), "CAPACITY");
      expect(error.message).toMatch(/slot 1 .*12.*20/);
      expect(session.lengthOf(0)).toBe(0);
      expect(session.lengthOf(1)).toBe(12);
      // The same when the check has to wait for a call that is under way.
      const first = session.extend([1], pack([prompts[0]]));
      const second = session.extend([1], pack([prompts[0]]));
      await first;
      expect((await failure(second, "CAPACITY")).message).toMatch(/slot 1 .*26.*20/);
      expect(session.lengthOf(1)).toBe(19);
    });
  });

  test("a session is stale after an update, and fresh again when its slots are released", async () => {
    const own = await engine.createModel(smallShape, { seed: 5 });
    const session = await own.openSession({ slots: 2, maxTokens: 32 });
    const [prompt] = someRows([6]);
    await session.extend([0], pack([prompt]));
    const before = own.version;
    const trainer = createTrainer(own);
    await trainer.step({ ...pack([prompt]), mask: new Uint8Array(6).fill(1) }, { kind: "sft" });
    expect(own.version).toBeGreaterThan(before);
    await failure(session.extend([0], pack([prompt])), "STALE_CACHE");
    await failure(session.extend([1], pack([prompt])), "STALE_CACHE");
    await failure(session.fork(0, [1]), "STALE_CACHE");
    await failure(session.generate([0], { maxNewTokens: 1 }), "STALE_CACHE");
    expect(session.lengthOf(0)).toBe(6);
    await session.releaseAll();
    await session.extend([0], pack([prompt]));
    const { tokens, logProbs } = await session.generate([0], { maxNewTokens: 4 });
    const scored = await own.logProbs(pack([[...prompt, ...tokens]]));
    expectClose(logProbs, scored.subarray(6), 1e-4);
    await own.dispose();
  });

  test("calls that nobody waited for run in order", async () => {
    await withSession({ slots: 2, maxTokens: 64, seed: 8 }, async (session) => {
      const calls = [
        session.extend([0], pack([prompts[0]])),
        session.fork(0, [1]),
        session.generate([1], { maxNewTokens: 3, temperature: 0 }),
        session.extend([1], pack([prompts[2]])),
        session.generate([0, 1], { maxNewTokens: 2, temperature: 0 }),
      ] as const;
      await Promise.all(calls);
      expect(session.lengthOf(0)).toBe(9);
      expect(session.lengthOf(1)).toBe(15);
    });
  });
});
