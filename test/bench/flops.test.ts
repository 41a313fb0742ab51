import { expect, test } from "vitest";
import { forwardFlops, samplingFlops, trainingFlops } from "../../bench/flops.ts";
import { completeModelConfig } from "../../lib/formats/model-config.ts";

const config = completeModelConfig({
  vocabularySize: 11,
  hiddenSize: 8,
  intermediateSize: 5,
  layers: 3,
  heads: 4,
  keyValueHeads: 2,
});

/** Multiply-adds of one token with `context` tokens to attend to (itself included), counted product by product. */
function multiplyAdds(context: number): number {
  const projections = 8 * 8 + 2 * (8 * 4) + 8 * 8;
  const attention = 2 * (4 * 2) * context;
  return 3 * (projections + attention + 3 * (8 * 5)) + 8 * 11;
}

test("a forward pass costs two operations for each multiply-add, over causal rows", () => {
  const rows = [4, 1].flatMap((length) =>
    Array.from({ length }, (_, position) => multiplyAdds(position + 1)),
  );
  const expected = 2 * rows.reduce((sum, count) => sum + count, 0);
  expect(forwardFlops(config, [0, 4, 5])).toBe(expected);
  expect(trainingFlops(config, [0, 4, 5])).toBe(3 * expected);
});

test("sampling needs the head for sampled tokens alone, and does not feed the last one back", () => {
  const positions = Array.from({ length: 6 }, (_, position) => multiplyAdds(position + 1) - 8 * 11);
  const expected = 2 * (positions.reduce((sum, count) => sum + count, 0) + 4 * 8 * 11);
  expect(samplingFlops(config, 10, 3, 4)).toBe(10 * expected);
});
