import { describe, expect, it } from "vitest";
import { SeededGenerator, seedOf } from "../../lib/rollout/seeded-generator.ts";

describe("SeededGenerator", () => {
  it("is the same for the same key and another for another", () => {
    const draw = (...key: (string | number)[]) => {
      const generator = new SeededGenerator(...key);
      return Array.from({ length: 4 }, () => generator.random());
    };
    expect(draw(1, "spa/sft", "epoch", 2)).toEqual(draw(1, "spa/sft", "epoch", 2));
    expect(draw(1, "spa/sft", "epoch", 2)).not.toEqual(draw(1, "spa/sft", "epoch", 3));
    expect(draw(1, 12)).not.toEqual(draw(11, 2));
  });

  it("goes on from a saved state", () => {
    const generator = new SeededGenerator("state");
    generator.integer(10);
    const state = JSON.parse(JSON.stringify(generator.state()));
    const expected = Array.from({ length: 5 }, () => generator.integer(1000));
    const resumed = new SeededGenerator("another");
    resumed.restore(state);
    expect(Array.from({ length: 5 }, () => resumed.integer(1000))).toEqual(expected);
  });

  it("permutes every index once and differently", () => {
    const generator = new SeededGenerator("permutation");
    const first = generator.permutation(50);
    expect([...first].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, index) => index));
    expect([...generator.permutation(50)]).not.toEqual([...first]);
  });

  it("draws indices by weight", () => {
    const generator = new SeededGenerator("weights");
    const counts = [0, 0, 0];
    for (let draw = 0; draw < 30_000; draw++) counts[generator.weighted([1, 0, 2])]++;
    expect(counts[1]).toBe(0);
    expect(counts[0] / 30_000).toBeCloseTo(1 / 3, 1);
  });

  it("makes seeds that are safe integers", () => {
    expect(Number.isSafeInteger(seedOf("a", 1))).toBe(true);
    expect(seedOf("a", 1)).not.toBe(seedOf("a", 2));
  });
});
