import { expect, test } from "vitest";
import { createEnvironment } from "../../envs/index.ts";
import { estimateRun } from "../../lib/stages/estimate.ts";
import { modelForEstimates } from "../../lib/stages/model-shape.ts";
import { readSftRows } from "../../lib/stages/sft/files.ts";
import { fixture } from "../engine/fixtures.ts";
import { tinyConfig, tinySettings } from "./tiny-run.ts";

async function estimated(id: string, settings: Record<string, unknown>) {
  const config = tinyConfig({ arms: ["spa"], ...settings });
  const lake = () => createEnvironment("frozen-lake", { size: 3, slippery: false });
  const { stages } = await estimateRun(config, await modelForEstimates(config), lake);
  return stages.find((stage) => stage.id === id)!;
}

async function trainedInSft(sft: Record<string, unknown>): Promise<number> {
  return (await estimated("spa/sft", { sft: { ...tinySettings.sft, ...sft } })).tokensTrained;
}

test("SFT is estimated by the trajectories of self-play, or by the rows of its file", async () => {
  const data = fixture("sft", "wm_train.parquet");
  const rows = (await readSftRows(data)).length;
  const perTrajectory = (await trainedInSft({})) / tinySettings.selfPlay.trajectories;
  expect(rows).not.toBe(tinySettings.selfPlay.trajectories);
  expect((await trainedInSft({ data })) / rows).toBeCloseTo(perTrajectory, -1);
});

test("PPO is estimated by the turns that its steps may take, and ends with its tokens", async () => {
  const ppoOf = async (ppo: Record<string, unknown>) => {
    const settings = { ...tinySettings.ppo, steps: 3, validateEvery: 0, ...ppo };
    return estimated("spa/ppo", { protocol: { ...tinySettings.protocol, maxTurns: 3 }, ppo: settings });
  };
  const whole = await ppoOf({});
  // Three turns, then two, then one, where each may take three.
  const annealed = await ppoOf({ interaction: { annealTo: 1 } });
  expect(annealed.tokensSampled / whole.tokensSampled).toBeCloseTo(6 / 9, 3);
  expect(annealed.tokensTrained / whole.tokensTrained).toBeCloseTo(6 / 9, 3);
  const tokens = whole.tokensSampled + whole.tokensTrained;
  const spent = await ppoOf({ tokenBudget: Math.round(tokens / 4) });
  expect((spent.tokensSampled + spent.tokensTrained) / tokens).toBeCloseTo(1 / 4, 3);
  expect(await ppoOf({ tokenBudget: 2 * tokens })).toEqual(whole);
});
