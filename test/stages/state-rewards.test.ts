// Rewards that PPO trains on, computed by hand from what turns wrote.
import { describe, expect, it, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { ppoSchema } from "../../lib/config/sections/ppo.ts";
import type { Trajectory, Turn } from "../../lib/rollout/trajectory.ts";
import { TurnProtocol } from "../../lib/rollout/turn-protocol.ts";
import { chooseTrajectories, preparePpoData } from "../../lib/stages/ppo/batch.ts";
import { rewardStates } from "../../lib/stages/ppo/state-rewards.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import type { StateText } from "../../lib/text/state-text.ts";

const { protocol: limits } = configSchema.parse({ protocol: { formatPenalty: 0.25 } });
const protocolOf = (format: "plain" | "world-model") => new TurnProtocol(nanoTokenizer(), limits, format);
const worldModel = protocolOf("world-model");

const state = (name: string): StateText => ({ grid: name, structured: `${name} at (0,0)` });
const [a, b] = [state("A"), state("B")];

/** A turn from A to B of one sampled token behind one that is not. */
function turn(place: number, reward: number, written: Partial<Turn>): Turn {
  return {
    message: "",
    begin: 2 * place + 1,
    end: 2 * place + 2,
    reward,
    valid: true,
    actions: ["Right"],
    executed: 1,
    stateBefore: a,
    stateAfter: b,
    effective: true,
    ...written,
  };
}

function trajectory(group: number, ...turns: Turn[]): Trajectory {
  const length = 2 * turns.length;
  return {
    id: 0,
    group,
    seed: 0,
    tokens: new Int32Array(length),
    roles: new Uint8Array(length),
    sampled: Uint8Array.from({ length }, (_, index) => index % 2),
    logProbs: new Float32Array(length),
    segments: [0],
    turns,
    totalReward: turns.reduce((sum, { reward }) => sum + reward, 0),
    success: false,
    finish: "turns",
    distance: null,
  };
}

const [right, wrong] = [
  { observation: a.structured, prediction: ` ${b.structured}\n` },
  { observation: b.structured, prediction: a.structured },
];
// A malformed turn carries out nothing, though both its states are right.
const malformed = { valid: false, actions: [], executed: 0, stateAfter: a, effective: false };
const played = [
  trajectory(
    0,
    turn(0, 0, right),
    turn(1, 0.5, { ...wrong, observation: a.structured }),
    turn(2, -0.25, { ...malformed, observation: a.structured, prediction: a.structured }),
  ),
  trajectory(0, turn(0, 0.5, wrong), turn(1, 0.5, { prediction: b.structured })),
];

const weightsOf = (rewards: Record<string, unknown>) => ppoSchema.parse({ rewards }).rewards;
const rewardsOf = (trajectories: readonly Trajectory[]) =>
  trajectories.map(({ turns }) => turns.map(({ reward }) => reward));

describe("rewards that are trained on", () => {
  it("add what right states of well-formed turns are worth to their turn, and to the total", () => {
    const weights = weightsOf({ observation: 0.125, prediction: 0.5 });
    const { trajectories, stateReward } = rewardStates(played, worldModel, weights);
    expect(rewardsOf(trajectories)).toEqual([
      [0.625, 0.625, -0.25],
      [0.5, 1],
    ]);
    expect(trajectories.map(({ totalReward }) => totalReward)).toEqual([1, 1.5]);
    expect(stateReward).toBe((0.75 + 0.5) / 2);
  });

  it("weigh the task, but not the format penalty", () => {
    const { trajectories } = rewardStates(played, worldModel, weightsOf({ task: 0, prediction: 1 }));
    expect(rewardsOf(trajectories)).toEqual([
      [1, 0, -0.25],
      [0, 1],
    ]);
    const { trajectories: halved, stateReward } = rewardStates(played, worldModel, weightsOf({ task: 0.5 }));
    expect(rewardsOf(halved)).toEqual([
      [0, 0.25, -0.25],
      [0.25, 0.25],
    ]);
    expect(stateReward).toBeUndefined();
  });

  it("are the played ones in the plain format, and where nothing is asked for", () => {
    const weights = weightsOf({ observation: 1, prediction: 1 });
    for (const rewarded of [
      rewardStates(played, protocolOf("plain"), weights),
      rewardStates(played, worldModel, weightsOf({})),
    ]) {
      expect(rewarded.trajectories).toBe(played);
      expect(rewarded.stateReward).toBeUndefined();
    }
  });

  it("leave what was played as it is", () => {
    const before = structuredClone(played);
    rewardStates(played, worldModel, weightsOf({ task: 2, observation: 1 }));
    expect(played).toEqual(before);
  });
});

test.each([
  ["turn", [0, 0.625, 0, 0.625, 0, -0.25, 0, 0.5, 0, 1]],
  ["trajectory", [0, 0, 0, 0, 0, 1, 0, 0, 0, 1.5]],
])("with placement %s they stand where rewards stand, and choose the groups", async (placement, expected) => {
  const equal = [trajectory(1, turn(0, 1, wrong)), trajectory(1, turn(0, 1, wrong))];
  const config = ppoSchema.parse({
    critic: "none",
    rewards: { observation: 0.125, prediction: 0.5, placement },
    filter: { kind: "ratio", value: 0.5 },
    advantage: { estimator: "reinforce++", whiten: false, gamma: 0 },
  });
  const { trajectories } = rewardStates([...equal, ...played], worldModel, config.rewards);
  const chosen = chooseTrajectories(trajectories, config, "frozen-lake");
  // Played rewards of group 0 are .25 and 1; what is trained on is 1 and 1.5.
  expect(chosen.deviation).toBeCloseTo(Math.SQRT1_2 / 4, 12);
  expect(chosen.rewards).toEqual([1, 1.5]);
  const data = await preparePpoData(chosen, { actor: null as never, critic: null, reference: null }, config);
  // Without discounted rewards to come, an advantage is the reward on its token.
  expect([...data.advantages]).toEqual(expected);
});

test("without the task there must be states to pay for, and an arm that writes them", () => {
  const pathsOf = (settings: Record<string, unknown>) =>
    configSchema.safeParse(settings).error?.issues.map(({ path }) => path.join("."));
  const rewards = { task: 0, prediction: 1 };
  expect(pathsOf({ arms: ["spa"], ppo: { rewards } })).toBeUndefined();
  expect(pathsOf({ arms: ["spa", "control"], ppo: { rewards } })).toEqual(["ppo.rewards.task"]);
  expect(pathsOf({ arms: ["spa"], ppo: { rewards: { task: 0 } } })).toEqual(["ppo.rewards.task"]);
});
