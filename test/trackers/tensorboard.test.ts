import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { tensorboardTracker } from "../../lib/trackers/tensorboard.ts";
import { scratchFolder, tinyConfig } from "../stages/tiny-run.ts";
import { crc32c, readEvents } from "./event-reader.ts";

const hostile = "</pre><script>alert(1)</script>\n# no heading";

const trajectory = (step: number) => ({
  ...{ step, id: 0, group: 0, seed: 7, totalReward: 1, success: true, finish: "terminated", distance: 2 },
  ...{
    segments: [],
    turns: [],
    tokens: [1],
    logProbs: [],
    pieces: [[0, 0, 1, hostile]] as [number, 0, number, string][],
  },
});

/** What two processes write: one that logs steps 1 to 4, and one that goes on from a checkpoint of step 2. */
function trackedRun(): RunFolder {
  const run = RunFolder.create(tinyConfig(), { root: scratchFolder(), name: "tracked" });
  using _lock = run.lock();
  const unexpected = (error: unknown) => {
    throw error;
  };
  for (const [from, to, figure] of [
    [-1, 4, 0.5],
    [2, 5, 0.25],
  ]) {
    const tracker = tensorboardTracker(run, unexpected);
    tracker.begins?.("spa/ppo", from);
    for (let step = Math.max(from, 0) + 1; step <= to; step++) {
      tracker.logs?.({ stage: "spa/ppo", step, reward_mean: figure, updates: 2 ** 40, note: "no number" });
      tracker.plays?.("spa/ppo", [trajectory(step)]);
    }
    void tracker.close();
  }
  return run;
}

test("the checksum is CRC-32C (check value of its definition)", () => {
  expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
});

test("scalars, texts and hyperparameters, without what a resume has cut back", () => {
  const { scalars, texts, hyperparameters } = readEvents(trackedRun().file("tensorboard", "spa-ppo"));
  expect(scalars.reward_mean).toEqual([
    [1, 0.5],
    [2, 0.5],
    [3, 0.25],
    [4, 0.25],
    [5, 0.25],
  ]);
  expect(scalars.updates[0]).toEqual([1, 2 ** 40]);
  expect(Object.keys(scalars)).toEqual(["reward_mean", "updates"]);
  expect(texts["trajectory/0"].map(([step]) => step)).toEqual([1, 2, 3, 4, 5]);
  expect(texts["trajectory/0"][0][1]).toBe(
    "level seed 7, solved, reward 1\n\n    </pre><script>alert(1)</script>\n    # no heading",
  );
  expect(texts.config[0][1]).toContain("    preset: custom\n    seed: 5");
  expect(hyperparameters).toMatchObject({ preset: "custom", seed: 5, "levels.disjoint": true });
});

test("a file that cannot be written is told of, and its rows stand in the next", () => {
  const run = RunFolder.create(tinyConfig(), { root: scratchFolder(), name: "refused" });
  using _lock = run.lock();
  const told: unknown[] = [];
  const tracker = tensorboardTracker(run, (error) => told.push(error));
  tracker.begins?.("\0", -1);
  tracker.logs?.(run.metrics.append({ stage: "spa/ppo", step: 1, reward_mean: 1 }));
  expect(told).toHaveLength(1);
  tracker.begins?.("spa/ppo", 0);
  void tracker.close();
  tracker.saves?.();
  const { scalars } = readEvents(run.file("tensorboard", "spa-ppo"));
  expect(scalars.reward_mean).toEqual([[1, 1]]);
});

/** A Python with tensorboard: SPA_TEST_PYTHON, or python3. */
const python = process.env.SPA_TEST_PYTHON ?? "python3";
const hasTensorboard = (() => {
  try {
    execFileSync(python, ["-c", "import tensorboard"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

// What TensorBoard's server reads with: there everything is a tensor.
const program = `
import json, sys
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util.tensor_util import make_ndarray
read = EventAccumulator(sys.argv[1]); read.Reload()
of = lambda plugin: sorted(tag for tag in read.Tags()["tensors"] if read.SummaryMetadata(tag).plugin_data.plugin_name == plugin)
values = lambda tag: [[e.step, make_ndarray(e.tensor_proto).item()] for e in read.Tensors(tag)]
content = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
print(json.dumps({
  "scalars": {tag: values(tag) for tag in of("scalars")},
  "texts": {tag: [[step, text.decode()] for step, text in values(tag)] for tag in of("text")},
  "hparams": [start.hparams["seed"].number_value, start.hparams["preset"].string_value],
}))
`;

test.skipIf(!hasTensorboard)(
  "TensorBoard's own reader says the same (skipped: no Python with tensorboard)",
  () => {
    const folder = trackedRun().file("tensorboard", "spa-ppo");
    const read = JSON.parse(
      execFileSync(python, ["-c", program, folder], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }),
    );
    const { scalars, texts } = readEvents(folder);
    expect(read).toEqual({ scalars, texts, hparams: [5, "custom"] });
  },
);

test("each process begins a file of its own, the later one behind the earlier by name", () => {
  const folder = trackedRun().file("tensorboard", "spa-ppo");
  const names = readdirSync(folder).sort();
  expect(names).toHaveLength(2);
  const [earlier, later] = names.map((name) => readFileSync(join(folder, name)).readDoubleLE(13));
  expect(later).toBeGreaterThan(earlier);
});
