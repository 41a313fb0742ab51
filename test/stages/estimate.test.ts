import { expect, test } from "vitest";
import { createEnvironment } from "../../envs/index.ts";
import { estimateRun } from "../../lib/stages/estimate.ts";
import { modelForEstimates } from "../../lib/stages/model-shape.ts";
import { readSftRows } from "../../lib/stages/sft/files.ts";
import { fixture } from "../engine/fixtures.ts";
import { tinyConfig, tinySettings } from "./tiny-run.ts";

async function trainedInSft(sft: Record<string, unknown>): Promise<number> {
  const config = tinyConfig({ arms: ["spa"], sft: { ...tinySettings.sft, ...sft } });
  const lake = () => createEnvironment("frozen-lake", { size: 3, slippery: false });
  const { stages } = await estimateRun(config, await modelForEstimates(config), lake);
  return stages.find(({ id }) => id === "spa/sft")!.tokensTrained;
}

test("SFT is estimated by the trajectories of self-play, or by the rows of its file", async () => {
  const data = fixture("sft", "wm_train.parquet");
  const rows = (await readSftRows(data)).length;
  const perTrajectory = (await trainedInSft({})) / tinySettings.selfPlay.trajectories;
  expect(rows).not.toBe(tinySettings.selfPlay.trajectories);
  expect((await trainedInSft({ data })) / rows).toBeCloseTo(perTrajectory, -1);
});
