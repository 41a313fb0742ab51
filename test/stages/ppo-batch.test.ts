import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { PpoConfig } from "../../lib/config/schema.ts";
import { ppoSchema } from "../../lib/config/sections/ppo.ts";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";
import type { Trajectory } from "../../lib/rollout/trajectory.ts";
import { chooseTrajectories, minibatches, preparePpoData, trainBatch } from "../../lib/stages/ppo/batch.ts";
import { Role } from "../../lib/text/roles.ts";

/** One prompt token, then per turn a tag, an answer token and the end; `rewards` of its turns and the states they begin in. */
function trajectory(group: number, rewards: number[], states: string[] = []): Trajectory {
  const roles = [Role.prompt, ...rewards.flatMap(() => [Role.tag, Role.answer, Role.end])];
  const totalReward = rewards.reduce((sum, reward) => sum + reward, 0);
  return {
    group,
    tokens: Int32Array.from(roles, (_, index) => index),
    roles: Uint8Array.from(roles),
    sampled: Uint8Array.from(roles, (role) => (role === Role.prompt ? 0 : 1)),
    logProbs: Float32Array.from(roles, (role) => (role === Role.prompt ? 0 : -0.5)),
    segments: [0],
    turns: rewards.map((reward, turn) => ({
      begin: 1 + 3 * turn,
      end: 4 + 3 * turn,
      reward,
      stateBefore: { grid: "", structured: states[turn] },
    })),
    totalReward,
  } as unknown as Trajectory;
}

const settings = (changes: Record<string, unknown>): PpoConfig => ppoSchema.parse(changes);
const noCritic = { actor: null as never, critic: null, reference: null };

describe("minibatches", () => {
  it("hold every trajectory once, in parts that differ by one at most", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 64 }), (count, size) => {
        const parts = minibatches(count, size, new SeededGenerator(count, size));
        expect(parts.flatMap((part) => [...part]).sort((a, b) => a - b)).toEqual([...Array(count).keys()]);
        const lengths = parts.map(({ length }) => length);
        expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(1);
        expect(Math.min(...lengths)).toBeGreaterThan(0);
      }),
    );
  });
});

describe("chooseTrajectories", () => {
  it("normalises over all groups before it keeps some, and scales last", () => {
    const collected = [trajectory(0, [1]), trajectory(0, [0]), trajectory(1, [5]), trajectory(1, [5])];
    const config = settings({
      filter: { kind: "ratio", value: 0.5 },
      rewards: { normalization: "mean", grouping: "batch", scale: 0.1 },
    });
    const chosen = chooseTrajectories(collected, config, "frozen-lake");
    expect(chosen.trajectories).toEqual(collected.slice(0, 2));
    expect(chosen.rewards[0]).toBeCloseTo((1 - 2.75) * 0.1, 12);
    expect(chosen.groups).toBe(1);
    expect(chosen.deviation).toBeCloseTo(Math.SQRT1_2 / 2, 12);
  });

  it("keeps no group by top-p where rewards are equal, whatever their mean rounds to", () => {
    const collected = [0, 0, 0, 1, 1, 1].map((group) => trajectory(group, [0.1]));
    const config = settings({ filter: { kind: "top-p", value: 0.9 } });
    expect(chooseTrajectories(collected, config, "frozen-lake")).toMatchObject({ groups: 0, deviation: 0 });
  });

  it("tells of no deviation where no trajectory has another to compare with", () => {
    const chosen = chooseTrajectories([trajectory(0, [1]), trajectory(1, [0])], settings({}), "frozen-lake");
    expect(chosen.deviation).toBeUndefined();
  });
});

describe("preparePpoData", () => {
  const trajectories = [trajectory(0, [0, 1]), trajectory(0, [0, 0])];

  it("without a critic, discount or whitening every sampled token's advantage is the reward to come", async () => {
    const config = settings({ critic: "none", advantage: { whiten: false }, mask: "response" });
    const data = await preparePpoData({ trajectories, rewards: [1, 0] }, noCritic, config);
    expect([...data.advantages]).toEqual([0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
    expect(data.returns).toEqual(data.advantages);
    expect(data.lossMask).toEqual(data.batch.sampled);
  });

  it("whitens over the tokens with loss", async () => {
    const config = settings({ critic: "none", mask: "answer" });
    const data = await preparePpoData({ trajectories, rewards: [1, 0] }, noCritic, config);
    // Answer and end of two turns in each of two trajectories: four ones, four zeros.
    expect(data.lossMask.reduce((sum, one) => sum + one, 0)).toBe(8);
    const scale = Math.sqrt(2 / 7 + 1e-8);
    const kept = [...data.advantages].filter((_, index) => data.lossMask[index] === 1);
    for (const [index, advantage] of kept.entries()) {
      expect(advantage).toBeCloseTo((index < 4 ? 0.5 : -0.5) / scale, 5);
    }
  });

  it("lets bi-level advantages see turns without reward", async () => {
    const advantage = { estimator: "bi-level", highLevelGamma: 0.5, whiten: false };
    const config = settings({ critic: "none", advantage, rewards: { placement: "turn" } });
    const data = await preparePpoData({ trajectories, rewards: [1, 0] }, noCritic, config);
    // The first turn's return is half of the second's.
    expect([...data.advantages.slice(0, 7)]).toEqual([0, 0.5, 0.5, 0.5, 1, 1, 1]);
  });

  describe("without a critic", () => {
    /** Two trajectories of two turns each, which begin in the same state and part. */
    const parting = [
      trajectory(0, [0, 1], ["start", "left"]),
      trajectory(0, [0, 0], ["start", "right"]),
      trajectory(1, [0.5], ["start"]),
      trajectory(1, [0.5], ["start"]),
    ];
    const totals = parting.map(({ totalReward }) => totalReward);
    const prepared = (advantage: Record<string, unknown>, others: Record<string, unknown> = {}) =>
      preparePpoData(
        { trajectories: parting, rewards: totals },
        noCritic,
        settings({ critic: "none", advantage, ...others }),
      );
    /** Prompt token, then three tokens a turn; groups of equal rewards at the end. */
    const tokens = (turns: readonly number[]) => [
      0,
      ...turns.slice(0, 2).flatMap((value) => [value, value, value]),
      0,
      ...turns.slice(2).flatMap((value) => [value, value, value]),
      ...new Array(8).fill(0),
    ];

    it.each([
      ["grpo", [0.5, 0.5, -0.5, -0.5]],
      ["rloo", [1, 1, -1, -1]],
      // Returns from the start are half of the last turn's reward; the states after it are met once each.
      ["gigpo", [0.75, 0.5, -0.75, -0.5]],
    ])("all sampled tokens of a turn have its %s advantage", async (estimator, expected) => {
      const advantage = { estimator, divideByDeviation: false, highLevelGamma: 0.5 };
      for (const placement of ["trajectory", "turn"]) {
        const data = await prepared(advantage, { rewards: { placement }, mask: "response" });
        expect([...data.advantages]).toEqual(tokens(expected));
      }
    });

    it("rewards are normalised and scaled before they are compared", async () => {
      const config = settings({
        critic: "none",
        filter: { kind: "ratio", value: 0.5 },
        rewards: { normalization: "mean", grouping: "batch", scale: 4 },
        advantage: { estimator: "rloo" },
      });
      const chosen = chooseTrajectories(parting, config, "frozen-lake");
      expect(chosen.rewards).toEqual([2, -2]);
      const { advantages } = await preparePpoData(chosen, noCritic, config);
      expect([...advantages]).toEqual(tokens([4, 4, -4, -4]).slice(0, 14));
    });

    it("comparisons are whitened on top only where that is asked for", async () => {
      const mask = "answer";
      const { lossMask, advantages } = await prepared({ estimator: "rloo", whiten: true }, { mask });
      const trained = [...advantages].filter((_, index) => lossMask[index] === 1);
      // Four tokens of 1, four of -1, four of 0.
      const scale = Math.sqrt(8 / 11 + 1e-8);
      for (const [index, value] of trained.entries())
        expect(value).toBeCloseTo([1, -1, 0][Math.floor(index / 4)] / scale, 5);
    });

    it("reinforce++ whitens returns, whatever lambda is", async () => {
      const mask = "answer";
      const advantage = { estimator: "reinforce++", lambda: 0.5 };
      const { lossMask, advantages, returns } = await prepared(advantage, { mask });
      expect([...returns.slice(0, 14)]).toEqual([0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
      const trained = [...advantages].filter((_, index) => lossMask[index] === 1);
      // Four tokens of 1, four of 0, four of 0.5.
      const scale = Math.sqrt(2 / 11 + 1e-8);
      for (const [index, value] of trained.entries())
        expect(value).toBeCloseTo([0.5, -0.5, 0][Math.floor(index / 4)] / scale, 5);
    });

    it("reinforce++ discounts from token to token", async () => {
      const { advantages } = await prepared({ estimator: "reinforce++", gamma: 0.5, whiten: false });
      expect([...advantages.slice(0, 7)]).toEqual([0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]);
    });
  });

  it("gathers a minibatch of everything", async () => {
    const config = settings({ critic: "none", advantage: { whiten: false } });
    const data = await preparePpoData({ trajectories, rewards: [1, 0] }, noCritic, config);
    const batch = trainBatch(data, Uint32Array.of(1), false);
    expect(Array.from(batch.offsets)).toEqual([0, 7]);
    expect(batch.tokens).toEqual(trajectories[1].tokens);
    expect(batch.oldLogProbs).toEqual(trajectories[1].logProbs);
    expect(batch.values).toBeUndefined();
    expect(trainBatch(data, Uint32Array.of(0, 1), true).values?.returns).toEqual(data.returns);
  });
});
