// gae, biLevelGae and whiten against verl and RAGEN (../fixtures/README.md), and their laws.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { biLevelGae, gae, whiten } from "../../lib/index.ts";
import { expectClose, failure, fixture, readJson } from "../engine/fixtures.ts";

interface Reference {
  advantages: number[][];
  returns: number[][];
}

interface Case {
  name: string;
  gamma: number;
  lam: number;
  high_level_gamma: number;
  mask: string[];
  rewards: [number, number][][];
  turn_ends: number[][];
  values: number[][];
  gae_masked_fp64: Reference;
  bi_level_fp64: Reference | { error: string };
}

interface Whitened {
  values: number[][];
  mask: number[][];
  shift_mean: boolean;
  out_fp64: number[][];
  mean_fp64: number;
}

const vectors = readJson<{ gae: Case[]; masked_whiten: Whitened[] }>(fixture("gae_ppo.json"));

function arraysOf({ mask, rewards, values, gamma, lam }: Case) {
  const width = values[0].length;
  const packedRewards = new Float32Array(width * values.length);
  for (const [row, entries] of rewards.entries()) {
    for (const [index, value] of entries) packedRewards[row * width + index] = value;
  }
  return {
    rewards: packedRewards,
    values: Float32Array.from(values.flat()),
    mask: Uint8Array.from(mask.join(""), Number),
    offsets: Uint32Array.from({ length: values.length + 1 }, (_, i) => i * width),
    gamma,
    lambda: lam,
    width,
  };
}

/** Upstream's results are whitened and speak outside the mask too; what counts is on the mask. */
function expectReference(
  result: { advantages: Float32Array; returns: Float32Array },
  reference: Reference,
  mask: Uint8Array,
) {
  const onMask = (values: ArrayLike<number>) => Array.from(mask, (m, i) => (m ? values[i] : 0));
  const advantages = onMask(reference.advantages.flat());
  const whitened =
    mask.reduce((sum, m) => sum + m, 0) > 1 ? whiten({ values: result.advantages, mask }) : result.advantages;
  expectClose(whitened, advantages, 2e-5);
  expectClose(result.returns, onMask(reference.returns.flat()), 5e-5);
  for (let i = 0; i < mask.length; i++) if (!mask[i]) expect(result.advantages[i]).toBe(0);
}

describe("reference values", () => {
  test.each(vectors.gae)("gae: $name", (item) => {
    const { width: _, ...input } = arraysOf(item);
    expectReference(gae(input), item.gae_masked_fp64, input.mask);
  });

  test.each(vectors.gae)("biLevelGae: $name", (item) => {
    const { width, ...input } = arraysOf(item);
    const positions = (choose: (row: number, index: number) => boolean) =>
      Uint32Array.from(
        item.turn_ends.flatMap((ends, row) => ends.filter((i) => choose(row, i)).map((i) => row * width + i)),
      );
    const highLevelGamma = item.high_level_gamma;
    const explicit = biLevelGae({ ...input, turnEnds: positions(() => true), highLevelGamma });
    expect(explicit.advantages.every(Number.isFinite)).toBe(true);
    // Upstream takes a turn whose reward is 0 for a part of the next one.
    const isTurn = (row: number, index: number) =>
      item.rewards[row].some(([i, reward]) => i === index && reward !== 0);
    const result = biLevelGae({ ...input, turnEnds: positions(isTurn), highLevelGamma });
    if ("error" in item.bi_level_fp64) {
      expect(item.name).toBe("zero_reward_last_turn_upstream_crash");
    } else {
      expectReference(result, item.bi_level_fp64, input.mask);
    }
  });

  test.each(vectors.masked_whiten.filter((item) => item.shift_mean))("whiten", (item) => {
    const mask = Uint8Array.from(item.mask.flat());
    const result = whiten({ values: item.values.flat(), mask });
    expectClose(
      result,
      item.out_fp64.flat().map((value, i) => value * mask[i]),
      2e-6,
    );
  });
});

/** Ragged rows with masks, and turn ends on masked tokens. */
const ragged = fc
  .array(
    fc.array(
      fc.record({
        mask: fc.integer({ min: 0, max: 1 }),
        reward: fc.double({ min: -5, max: 5, noNaN: true }),
        value: fc.double({ min: -5, max: 5, noNaN: true }),
        end: fc.boolean(),
      }),
      { maxLength: 12 },
    ),
    { maxLength: 5 },
  )
  .map((rows) => {
    const tokens = rows.flat();
    const offsets = [0];
    for (const row of rows) offsets.push(offsets.at(-1)! + row.length);
    return {
      rewards: Float32Array.from(tokens, (t) => t.reward),
      values: Float32Array.from(tokens, (t) => t.value),
      mask: Uint8Array.from(tokens, (t) => t.mask),
      offsets: Uint32Array.from(offsets),
      turnEnds: Uint32Array.from(tokens.flatMap((t, i) => (t.end && t.mask ? [i] : []))),
    };
  });

/** GAE as the paper writes it, over one row's masked tokens. */
function plainGae(rewards: number[], values: number[], gamma: number, lambda: number): number[] {
  return rewards.map((_, start) => {
    let sum = 0;
    for (let i = start; i < rewards.length; i++) {
      const delta = rewards[i] + gamma * (values[i + 1] ?? 0) - values[i];
      sum += (gamma * lambda) ** (i - start) * delta;
    }
    return sum;
  });
}

describe("laws", () => {
  test("gae equals the paper's sum on each row's masked tokens", () => {
    fc.assert(
      fc.property(
        ragged,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (rows, gamma, lambda) => {
          const { turnEnds: _, ...input } = rows;
          const { advantages, returns } = gae({ ...input, gamma, lambda });
          for (let row = 0; row + 1 < rows.offsets.length; row++) {
            const masked = Array.from(
              { length: rows.offsets[row + 1] - rows.offsets[row] },
              (_, i) => rows.offsets[row] + i,
            );
            const kept = masked.filter((i) => rows.mask[i] === 1);
            const expected = plainGae(
              kept.map((i) => rows.rewards[i]),
              kept.map((i) => rows.values[i]),
              gamma,
              lambda,
            );
            expectClose(
              kept.map((i) => advantages[i]),
              expected,
              1e-4,
            );
            expectClose(
              kept.map((i) => returns[i]),
              expected.map((a, k) => a + rows.values[kept[k]]),
              1e-4,
            );
          }
        },
      ),
    );
  });

  test("rows do not see each other", () => {
    fc.assert(
      fc.property(ragged, ({ offsets, turnEnds, ...arrays }) => {
        const options = { gamma: 0.9, lambda: 0.8, highLevelGamma: 0.95 };
        const whole = biLevelGae({ ...arrays, offsets, turnEnds, ...options });
        for (let row = 0; row + 1 < offsets.length; row++) {
          const [begin, end] = [offsets[row], offsets[row + 1]];
          const alone = biLevelGae({
            rewards: arrays.rewards.subarray(begin, end),
            values: arrays.values.subarray(begin, end),
            mask: arrays.mask.subarray(begin, end),
            offsets: [0, end - begin],
            turnEnds: turnEnds.filter((i) => i >= begin && i < end).map((i) => i - begin),
            ...options,
          });
          expect(whole.advantages.subarray(begin, end)).toEqual(alone.advantages);
          expect(whole.returns.subarray(begin, end)).toEqual(alone.returns);
        }
      }),
    );
  });

  test("a zero-reward turn is a turn", () => {
    const base = {
      values: [0, 0, 0, 0],
      mask: [1, 1, 1, 1],
      offsets: [0, 4],
      gamma: 1,
      lambda: 1,
      highLevelGamma: 0.5,
    };
    const two = biLevelGae({ ...base, rewards: [0, 0, 0, 1], turnEnds: [1, 3] });
    expect([...two.returns]).toEqual([0.5, 0.5, 1, 1]);
    const one = biLevelGae({ ...base, rewards: [0, 0, 0, 1], turnEnds: [3] });
    expect([...one.returns]).toEqual([1, 1, 1, 1]);
  });

  test("equal values are whitened to exactly 0", () => {
    for (const value of [0.1, 1 / 3, -1e-20, 3e30]) {
      const values = new Float32Array(1001).fill(value);
      const mask = new Uint8Array(1001).fill(1);
      expect(whiten({ values, mask }).every((result) => result === 0)).toBe(true);
    }
  });

  test("whitened values have mean 0 and variance 1; fewer than two are only centred", () => {
    const values = [1, 2, 3, 4, 100];
    const result = whiten({ values, mask: [1, 1, 1, 1, 0] });
    expect(result.reduce((a, b) => a + b)).toBeCloseTo(0, 5);
    expect(result.reduce((a, b) => a + b * b, 0) / 3).toBeCloseTo(1, 5);
    expect(result[4]).toBe(0);
    expect([...whiten({ values: [7, 8], mask: [0, 1] })]).toEqual([0, 0]);
    expect([...whiten({ values: [7, 8], mask: [0, 0] })]).toEqual([0, 0]);
    expect(whiten({ values: [], mask: [] }).length).toBe(0);
  });
});

describe("bad arguments", () => {
  const good = {
    rewards: [0, 1, 0],
    values: [0, 0, 0],
    mask: [1, 1, 1],
    offsets: [0, 3],
    gamma: 1,
    lambda: 1,
  };
  const turns = { ...good, turnEnds: [1], highLevelGamma: 1 };
  const refuse = async (call: () => unknown, text: RegExp) => {
    expect((await failure(call, "BAD_ARGUMENT")).message).toMatch(text);
  };

  test.each([
    ["offsets that start late", { offsets: [1, 3] }, /offsets\[0\] is 1/],
    ["offsets that fall", { offsets: [0, 2, 1, 3] }, /offsets\[2\] is 1, less than offsets\[1\] = 2/],
    ["offsets that end early", { offsets: [0, 2] }, /ends with 2.*3 entries/],
    ["offsets that end late", { offsets: [0, 4] }, /ends with 4.*3 entries/],
    ["no offsets", { offsets: [] }, /offsets is empty/],
    ["a fractional offset", { offsets: [0, 1.5, 3] }, /offsets\[1\] is 1.5/],
    ["a short mask", { mask: [1, 1] }, /mask has 2 entries.*3/],
    ["a mask of other numbers", { mask: [1, 2, 1] }, /mask\[1\] is 2/],
    ["too many values", { values: [0, 0, 0, 0] }, /values has 4 entries.*3/],
    ["NaN", { rewards: [0, Number.NaN, 0] }, /rewards\[1\] is NaN/],
    ["an infinite value", { values: [0, 0, Number.POSITIVE_INFINITY] }, /values\[2\] is Infinity/],
    ["a text", { values: "abc" as unknown as number[] }, /values must be/],
    ["gamma above 1", { gamma: 1.1 }, /gamma must be a finite number.*1.1/],
    ["no lambda", { lambda: undefined as unknown as number }, /lambda must be/],
    ["an unknown key", { lamda: 1 }, /unknown key "lamda"/],
  ])("gae: %s", async (_, change, text) => {
    await refuse(() => gae({ ...good, ...change }), text);
  });

  test.each([
    ["a turn end outside", { turnEnds: [3] }, /turnEnds\[0\] is 3/],
    ["turn ends out of order", { turnEnds: [2, 1] }, /turnEnds\[1\] is 1, not greater/],
    ["a turn end outside the mask", { mask: [1, 0, 1] }, /turnEnds\[0\] is 1, a token outside the mask/],
    ["no highLevelGamma", { highLevelGamma: undefined as unknown as number }, /highLevelGamma must be/],
  ])("biLevelGae: %s", async (_, change, text) => {
    await refuse(() => biLevelGae({ ...turns, ...change }), text);
  });

  test("whiten", async () => {
    await refuse(() => whiten({ values: [1, 2], mask: [1] }), /mask has 1 entries.*2/);
    await refuse(
      () => whiten({ values: undefined as unknown as number[], mask: [1] }),
      /values must be an array/,
    );
  });
});
