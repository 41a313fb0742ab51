import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import type { Engine } from "../../lib/index.ts";
import { CollapseWatch } from "../../lib/stages/ppo/collapse-watch.ts";
import { mutualInformation, replyInformation } from "../../lib/stages/ppo/reply-information.ts";
import { makeEngine } from "../engine/fixtures.ts";
import { protocolWith, trajectories } from "./blind-play.ts";
import { tinyShape } from "./tiny-run.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await makeEngine();
});
afterAll(() => engine.dispose());

describe("mutualInformation", () => {
  it("follows its equation", () => {
    const p = [
      [0.5, 0.1],
      [0.2, 0.6],
    ];
    const expected = (Math.log(0.5 / 0.3) + Math.log(0.6 / 0.4)) / 2;
    expect(mutualInformation(p.map((row) => row.map(Math.log)))).toBeCloseTo(expected, 12);
  });

  it("is 0 where replies are alike behind every prompt, and log N where they fit their own alone", () => {
    const alike = [-3, -700, -2000].map((value) => [value, value, value]);
    expect(mutualInformation(alike)).toBeCloseTo(0, 12);
    const own = [0, 1, 2].map((reply) => [0, 1, 2].map((prompt) => (reply === prompt ? -1000 : -5000)));
    expect(mutualInformation(own)).toBeCloseTo(Math.log(3), 12);
  });

  it("is negative where replies fit other prompts better", () => {
    expect(
      mutualInformation([
        [-2, -1],
        [-1, -2],
      ]),
    ).toBeLessThan(0);
  });
});

describe("replyInformation", () => {
  it("scores each level's first reply behind each prompt", async () => {
    const played = await trajectories(protocolWith(), 4);
    const model = await engine.createModel(tinyShape, { seed: 4, initialization: "nano" });
    const firsts = played.slice(0, 3).map(({ tokens, turns: [{ begin, end }] }) => ({
      prompt: [...tokens.subarray(0, begin)],
      reply: [...tokens.subarray(begin, end)],
    }));
    const matrix: number[][] = [];
    for (const { reply } of firsts) {
      const row: number[] = [];
      for (const { prompt } of firsts) {
        const tokens = [...prompt, ...reply];
        const logProbs = await model.logProbs({ tokens, offsets: [0, tokens.length] });
        row.push(logProbs.subarray(prompt.length).reduce((a, b) => a + b, 0));
      }
      matrix.push(row);
    }
    expect(await replyInformation(model, played, 3)).toBeCloseTo(mutualInformation(matrix), 4);
    // Attempts at one level are one prompt.
    const twice = played.flatMap((trajectory) => [trajectory, trajectory]);
    expect(await replyInformation(model, twice, 3)).toBeCloseTo(mutualInformation(matrix), 4);
    expect(await replyInformation(model, played.slice(0, 1), 16)).toBeUndefined();
  });
});

describe("the watch over collapse", () => {
  it("warns once when replies say less than a tenth of what they said about their prompts", () => {
    const watch = new CollapseWatch();
    const seen = [1.2, 0.9, 0.13, 0.11, 0.05, 1].map((value) =>
      watch.seeValidation({ reply_information: value }),
    );
    expect(seen.map(({ length }) => length)).toEqual([0, 0, 0, 1, 0, 0]);
    expect(seen[3][0]).toMatch(/^replies say less than a tenth of what they said about their prompts/);
    expect(watch.collapsed).toBe(true);
  });

  it("says nothing without a figure, or where replies never said anything", () => {
    const watch = new CollapseWatch();
    expect(watch.seeValidation({ validation_reward_mean: 1 })).toEqual([]);
    expect(watch.seeValidation({ reply_information: -0.01 })).toEqual([]);
    expect(watch.seeValidation({ reply_information: -0.2 })).toEqual([]);
    expect(watch.collapsed).toBe(false);
  });
});

it.each([{ informationLevels: 1 }, { informationLevels: 40 }, { informationLevels: 4, validateEvery: 0 }])(
  "levels that no validation has are refused: %s",
  (ppo) => {
    const { error } = configSchema.safeParse({ ppo });
    expect(error?.issues.map(({ path }) => path.join("."))).toEqual(["ppo.informationLevels"]);
  },
);
