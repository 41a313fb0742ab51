import { describe, expect, it } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";
import type { Trajectory, Turn } from "../../lib/rollout/trajectory.ts";
import { TurnProtocol } from "../../lib/rollout/turn-protocol.ts";
import {
  passCurveMetrics,
  passMetrics,
  passRates,
  summarizeEvaluation,
} from "../../lib/stages/evaluate/evaluate.ts";
import { playStatistics } from "../../lib/stages/play-statistics.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";

const tokenizer = nanoTokenizer();
const protocolOf = (format: "plain" | "world-model") =>
  new TurnProtocol(tokenizer, configSchema.parse({}).protocol, format);

const state = (grid: string) => ({ grid, structured: `${grid}\nPlayer (P) at (0,${grid.indexOf("P")}).` });

/** A turn from `before` to `after` with what the agent wrote. */
function turn(before: string, after: string, written: Partial<Turn> = {}): Turn {
  return {
    message: "",
    begin: 0,
    end: 2,
    reward: 0,
    valid: true,
    actions: ["Right"],
    executed: 1,
    stateBefore: state(before),
    stateAfter: state(after),
    effective: before !== after,
    ...written,
  };
}

function trajectory(
  success: boolean,
  distance: number | null,
  turns: Turn[] = [turn("P_", "_P")],
): Trajectory {
  const sampled = new Uint8Array(10).fill(1, 0, 4);
  const tokens = new Int32Array(10).fill(tokenizer.tokenId("<|im_end|>") ?? 0);
  return { success, distance, turns, tokens, sampled, totalReward: success ? 1 : 0 } as Trajectory;
}

/** Four samples each on three levels: 4, 1 and 0 successes. */
const played = [4, 1, 0].flatMap((successes, level) =>
  Array.from({ length: 4 }, (_, sample) => trajectory(sample < successes, level === 2 ? null : 3)),
);

describe("passRates", () => {
  it("averages over levels; k is the number of samples where they are fewer than eight", () => {
    const { passAt1, passAtK, k, levels, ...others } = passRates(played, 4);
    expect(levels).toEqual([
      { passAt1: 1, passAtK: 1 },
      { passAt1: 0.25, passAtK: 1 },
      { passAt1: 0, passAtK: 0 },
    ]);
    expect(k).toBe(4);
    expect(passAt1).toBeCloseTo(1.25 / 3, 12);
    expect(passAtK).toBeCloseTo(2 / 3, 12);
    expect(others).toEqual({});
  });

  it("is logged under its k", () => {
    expect(passMetrics(passRates(played, 4))).toEqual({
      pass_at_1: expect.closeTo(1.25 / 3, 12),
      pass_at_4: expect.closeTo(2 / 3, 12),
    });
    expect(Object.keys(passMetrics(passRates(played, 1)))).toEqual(["pass_at_1"]);
    // Successes 0, 1 and 4 of 4: a pair of attempts holds one of one success with 1 - C(3, 2) / C(4, 2) = 1/2.
    expect(passCurveMetrics(passRates(played, 4), 4)).toEqual({
      pass_at_1: expect.closeTo(1.25 / 3, 12),
      pass_at_2: expect.closeTo(1.5 / 3, 12),
      pass_at_4: expect.closeTo(2 / 3, 12),
    });
    expect(Object.keys(passCurveMetrics(passRates(played, 6), 6))).toEqual([
      "pass_at_1",
      "pass_at_2",
      "pass_at_4",
      "pass_at_6",
    ]);
    expect(Object.keys(passCurveMetrics(passRates(played, 1), 1))).toEqual(["pass_at_1"]);
  });

  it("estimates Pass@8 without bias from more samples", () => {
    const sixteen = Array.from({ length: 16 }, (_, sample) => trajectory(sample === 0, 1));
    const rates = passRates(sixteen, 16);
    expect(rates.k).toBe(8);
    expect(rates.passAt8).toBeCloseTo(0.5, 12);
    expect(rates.passAtK).toBe(rates.passAt8);
  });
});

describe("summarizeEvaluation", () => {
  it("has Pass@k and its interval for every k", () => {
    const protocol = protocolOf("plain");
    const statistics = playStatistics(played, protocol);
    const generator = new SeededGenerator("evaluate");
    const { passAt, ci95, ...rates } = summarizeEvaluation(played, 4, protocol, statistics, {
      resamples: 100,
      generator,
    });
    // One success of four: a pair holds it with probability 1/2, three samples with 3/4.
    expect(passAt).toEqual({
      1: rates.passAt1,
      2: expect.closeTo(1.5 / 3, 12),
      3: expect.closeTo(1.75 / 3, 12),
      4: rates.passAtK,
    });
    expect(Object.keys(ci95.passAt ?? {})).toEqual(["1", "2", "3", "4"]);
    expect([ci95.passAt?.[1], ci95.passAt?.[4]]).toEqual([ci95.passAt1, ci95.passAtK]);
  });

  it("breaks rates down by distance", () => {
    const protocol = protocolOf("plain");
    const statistics = playStatistics(played, protocol);
    const generator = new SeededGenerator("evaluate");
    const evaluation = summarizeEvaluation(played, 4, protocol, statistics, { resamples: 100, generator });
    expect(evaluation.byDistance).toEqual({
      3: { passAt1: 0.625, passAtK: 1, levels: 2 },
      unknown: { passAt1: 0, passAtK: 0, levels: 1 },
    });
    expect(Object.keys(evaluation.ci95)).toEqual(["passAt1", "passAtK", "passAt"]);
    expect(evaluation).toMatchObject({
      k: 4,
      levels: 3,
      samples: 4,
      formatRate: 1,
      observationAccuracy: null,
    });
    expect(evaluation).not.toHaveProperty("worldModel");
  });
});

describe("playStatistics", () => {
  const right = { observation: " P_\nPlayer (P) at (0,0).", prediction: "_P\nPlayer (P) at (0,1).\n" };
  const turns = [
    turn("P_", "_P", right),
    turn("P_", "P_", { observation: "P_\nPlayer (P) at (0,0).", prediction: "P_\nPlayer (P) at (0,0)." }),
    turn("P_", "_P", { observation: "P_", prediction: "P_\nPlayer (P) at (0,0)." }),
    turn("P_", "_P", { valid: false }),
  ];
  const trajectories = [trajectory(true, 1, turns), trajectory(false, 1, [])];

  it("counts right states over all turns and over those that changed something", () => {
    const statistics = playStatistics(trajectories, protocolOf("world-model"));
    expect(statistics).toMatchObject({
      trajectories: 2,
      rewardMean: 0.5,
      rewardStd: 0.5,
      successRate: 0.5,
      turnsMean: 2,
      responseLength: 2,
      formatRate: 0.75,
      observationAccuracy: 0.5,
      predictionAccuracy: 0.5,
    });
    expect(statistics.predictionAccuracyChanged).toBeCloseTo(1 / 3, 12);
  });

  it("counts replies that do not end with a stop token", () => {
    const [first] = trajectories;
    const cut = { ...first, tokens: new Int32Array(10).fill(20) };
    expect(playStatistics([first], protocolOf("world-model")).cutRate).toBe(0);
    expect(playStatistics([first, cut], protocolOf("world-model")).cutRate).toBe(0.5);
  });

  it("has no state rates in the plain format", () => {
    const statistics = playStatistics(trajectories, protocolOf("plain"));
    expect(statistics).toMatchObject({ observationAccuracy: null, predictionAccuracyChanged: null });
  });
});
