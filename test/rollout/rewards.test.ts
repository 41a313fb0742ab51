import { describe, expect, it } from "vitest";
import { packTrajectories } from "../../lib/rollout/batch.ts";
import { placeRewards } from "../../lib/rollout/rewards.ts";
import type { Trajectory, Turn } from "../../lib/rollout/trajectory.ts";

/** A trajectory of two prompt tokens and three sampled ones for each turn. */
function trajectory(rewards: number[]): Trajectory {
  const length = rewards.length * 5;
  const sampled = Uint8Array.from({ length }, (_, index) => (index % 5 < 2 ? 0 : 1));
  const turns = rewards.map((reward, turn) => ({ begin: turn * 5 + 2, end: turn * 5 + 5, reward }) as Turn);
  return {
    tokens: new Int32Array(length),
    roles: new Uint8Array(length),
    sampled,
    logProbs: new Float32Array(length),
    segments: [0],
    turns,
    totalReward: rewards.reduce((sum, reward) => sum + reward, 0),
  } as Trajectory;
}

const trajectories = [trajectory([0.5, 0, -0.25]), trajectory([1])];
const batch = packTrajectories(trajectories);
const totals = trajectories.map(({ totalReward }) => totalReward);
const placed = (rewards: Float32Array) => [...rewards.entries()].filter(([, reward]) => reward !== 0);

describe("placeRewards", () => {
  it("puts the sum on the last sampled token of the trajectory", () => {
    const { rewards } = placeRewards(trajectories, batch, totals, { placement: "trajectory", scale: 1 });
    expect(placed(rewards)).toEqual([
      [14, 0.25],
      [19, 1],
    ]);
  });

  it("puts each turn's reward on the last sampled token of the turn", () => {
    const { rewards } = placeRewards(trajectories, batch, totals, { placement: "turn", scale: 1 });
    expect(placed(rewards)).toEqual([
      [4, 0.5],
      [14, -0.25],
      [19, 1],
    ]);
  });

  it("names the end of every turn, those without reward too", () => {
    const { turnEnds } = placeRewards(trajectories, batch, totals, { placement: "turn", scale: 1 });
    expect([...turnEnds]).toEqual([4, 9, 14, 19]);
    for (const end of turnEnds) expect(batch.sampled[end]).toBe(1);
  });

  it("scales turn rewards, and gives what normalisation changed to the last turn", () => {
    const { rewards } = placeRewards(trajectories, batch, [-1, 0], { placement: "turn", scale: 2 });
    expect(placed(rewards)).toEqual([
      [4, 1],
      [14, -2],
    ]);
    expect(rewards.slice(0, 15).reduce((sum, reward) => sum + reward, 0)).toBe(-1);
  });
});
