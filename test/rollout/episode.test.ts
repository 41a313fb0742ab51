import { describe, expect, it } from "vitest";
import type { Environment, Json, ResetOptions, StepResult } from "../../envs/environment.ts";
import { createEnvironment } from "../../envs/index.ts";
import { Episode } from "../../lib/rollout/episode.ts";

const limits = { maxTurns: 3, maxActions: 5, formatPenalty: 0.1 };
const level = { seed: 1, grid: "P__\n___\n__G", distance: 4 };
const lake = () => createEnvironment("frozen-lake", { slippery: false });
const valid = (...actions: string[]) => ({ valid: true, actions });

describe("Episode", () => {
  it("carries out actions until the goal and counts them", async () => {
    const episode = await Episode.start(lake(), level, limits);
    const first = await episode.act(valid("Right", "Down"));
    expect(first).toMatchObject({ reward: 0, executed: 2, effective: true, valid: true });
    expect(first.stateBefore.grid).toBe("P__\n___\n__G");
    expect(first.stateAfter.grid).toBe("___\n_P_\n__G");
    expect(first.stateAfter.structured).toContain("Player (P) at (1,1)");
    const second = await episode.act(valid("Right", "Down", "Left"));
    expect(second).toMatchObject({ reward: 1, executed: 2 });
    expect(episode).toMatchObject({
      finish: "terminated",
      success: true,
      totalReward: 1,
      turns: 2,
      actions: 4,
    });
  });

  it("ends when the actions are used up, and does no more than are left", async () => {
    const episode = await Episode.start(lake(), level, limits);
    await episode.act(valid("Right", "Left", "Right"));
    const last = await episode.act(valid("Left", "Right", "Left"));
    expect(last.executed).toBe(2);
    expect(episode.finish).toBe("actions");
  });

  it("ends after the last turn; an invalid one costs the format penalty and changes nothing", async () => {
    const episode = await Episode.start(lake(), level, limits);
    for (let turn = 0; turn < 3; turn++) {
      const outcome = await episode.act({ valid: false, reason: "missing-answer", actions: [] });
      expect(outcome).toMatchObject({
        reward: -0.1,
        executed: 0,
        effective: false,
        invalidReason: "missing-answer",
      });
    }
    expect(episode.finish).toBe("turns");
    expect(episode.totalReward).toBeCloseTo(-0.3, 12);
  });

  it("carries out the known actions of an invalid answer, and calls a turn that leads back not effective", async () => {
    const episode = await Episode.start(lake(), level, limits);
    const outcome = await episode.act({ valid: false, reason: "unknown-action", actions: ["Right", "Left"] });
    expect(outcome).toMatchObject({ reward: -0.1, executed: 2, effective: false });
  });

  it("waits for environments that answer later", async () => {
    const episode = await Episode.start(later(lake()), level, limits);
    const outcome = await episode.act(valid("Right", "Down", "Right", "Down"));
    expect(outcome).toMatchObject({ reward: 1, executed: 4 });
    expect(episode.finish).toBe("terminated");
  });

  it("refuses a level that reset ignores", async () => {
    const fixed = { ...bare(), render: () => "other" };
    const bySeed = lake();
    const seeded = { ...later(bySeed), reset: ({ seed }: ResetOptions) => bySeed.reset({ seed: seed ?? 0 }) };
    let made = 0;
    const counting = { ...later(bySeed), reset: () => bySeed.reset({ seed: made++ }) };
    for (const environment of [fixed, seeded, counting]) {
      await expect(Episode.start(environment, level, limits)).rejects.toMatchObject({
        code: "BAD_ENVIRONMENT",
        message: expect.stringContaining("reset({ seed, level }) ignores level"),
      });
    }
  });

  it("takes a level that is written otherwise than it is printed", async () => {
    const episode = await Episode.start(lake(), { ...level, grid: "P__\n___\n__G\n" }, limits);
    expect(episode.state.grid).toBe(level.grid);
    expect(await episode.act(valid("Right", "Down", "Right", "Down"))).toMatchObject({ reward: 1 });
  });

  it("names level, turn and action when the environment fails", async () => {
    const broken = {
      ...bare(),
      step: () => {
        throw new Error("no");
      },
    };
    const episode = await Episode.start(broken, level, limits);
    await expect(episode.act(valid("Right"))).rejects.toMatchObject({
      code: "BAD_ENVIRONMENT",
      message: 'bare at level seed 1, turn 1: step("Right") threw: no',
    });
    let renders = 0;
    const render = () => {
      if (++renders > 2) throw new Error("lost");
      return level.grid;
    };
    const blind = await Episode.start({ ...bare(), render }, level, limits);
    await blind.act({ valid: false, actions: [] });
    await expect(blind.act(valid("Right"))).rejects.toThrow("bare at level seed 1, turn 2: render(");
  });

  it("refuses a reward that is no number", async () => {
    const step = (): StepResult => ({ ...bareResult, reward: Number.NaN });
    const episode = await Episode.start({ ...bare(), step }, level, limits);
    await expect(episode.act(valid("Right"))).rejects.toMatchObject({ code: "BAD_ENVIRONMENT" });
  });
});

const bareResult: StepResult = {
  observation: "P",
  reward: 0,
  terminated: false,
  truncated: false,
  info: { valid: true, effective: false, success: false },
};

function bare(): Environment {
  return {
    name: "bare",
    actions: ["Right"],
    instructions: () => "",
    reset: () => "P",
    step: () => bareResult,
    render: () => level.grid,
    state: (): Json => null,
    restore: () => {},
  };
}

/** The same environment, asked over a slow line. */
function later(environment: Environment): Environment {
  const wait = () => new Promise<void>((resolve) => setTimeout(resolve, 1));
  return {
    name: environment.name,
    actions: environment.actions,
    instructions: () => environment.instructions(),
    reset: async (options) => {
      await wait();
      return environment.reset(options);
    },
    step: async (action) => {
      await wait();
      return environment.step(action);
    },
    render: (mode) => environment.render(mode),
    state: () => environment.state(),
    restore: (state) => environment.restore(state),
  };
}
