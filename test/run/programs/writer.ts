// Works in the run folder of argv[2] as a stage does, goes on from the newest checkpoint, and says "finished" when
// step argv[3] is done. The figure of a step depends on the state alone, so every order of deaths gives the same log.
import { latestCheckpoint, saveCheckpoint } from "../../../lib/run/checkpoint.ts";
import { RunFolder } from "../../../lib/run/run-folder.ts";
import { checkpointParts, trajectory } from "./stand-ins.ts";

const [, , path, lastStep] = process.argv;
const stage = "spa/ppo";
const run = RunFolder.open(path);
using _lock = run.lock();

run.beginStage(stage);
const checkpoint = latestCheckpoint(run, stage);
let step = checkpoint?.step ?? 0;
let figure = (checkpoint?.state as { figure: number } | undefined)?.figure ?? 1;
run.rewindStage(stage, step);
console.log("working");

while (step < Number(lastStep)) {
  step++;
  figure = (figure * 48_271) % 2_147_483_647;
  run.metrics.append({ stage, step, figure });
  run.trajectories(stage).append(step, [trajectory(step)], { decode: (ids) => ids.join(" ") });
  if (step % 3 === 0) {
    const validation = figure / 2_147_483_647;
    await saveCheckpoint(run, { stage, step, ...checkpointParts(step), state: { figure }, validation });
  }
}
run.completeStage(stage, { seconds: 0, tokensSampled: 0, tokensTrained: 0, figure });
run.writeResults({ figure });
console.log("finished");
