import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Json } from "../../envs/environment.ts";
import { createEnvironment } from "../../envs/index.ts";
import { configSchema } from "../../lib/config/schema.ts";
import { EnvironmentPool } from "../../lib/rollout/environment-pool.ts";
import { playScripted, type Script } from "../../lib/rollout/scripted.ts";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";
import type { Trajectory } from "../../lib/rollout/trajectory.ts";
import { TurnProtocol } from "../../lib/rollout/turn-protocol.ts";
import { type Evaluation, nameRates } from "../../lib/run/evaluation.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";

/** What the agent of {@link exampleRun} thinks: text that would break a page which does not escape. */
export const hostile = `</script><script>alert("1")</script>&amp; '"\u001b[31m\u202e`;

const config = configSchema.parse({
  preset: "<b>example</b>",
  environment: { name: "frozen-lake", options: { size: 3, slippery: false } },
  protocol: { maxTurns: 3, maxActionsPerTurn: 2, maxActions: 6, maxTokens: 1500 },
});

const tokenizer = nanoTokenizer();
const decode = (ids: Int32Array) => tokenizer.decode(ids);

/** Goes right and down; sees what is there, and predicts that nothing changes. */
const script: Script = ({ state }) => ({
  observation: state.structured,
  reasoning: hostile,
  prediction: state.structured,
  actions: ["Right", "Down"],
});

/** An episode on an empty 3x3 lake from one corner to the other: two turns. */
async function playEpisode(id: number): Promise<Trajectory> {
  const protocol = new TurnProtocol(tokenizer, config.protocol, "world-model");
  const environments = new EnvironmentPool(() => createEnvironment("frozen-lake", { slippery: false }));
  const level = { seed: 7 + id, grid: "P__\n___\n__G", distance: 4 };
  const generatorOf = () => new SeededGenerator("example", id);
  const plays = [{ id, group: id, level }];
  const [trajectory] = await playScripted({ protocol, environments, plays, script, generatorOf });
  return trajectory;
}

/** The same with sampled replies, as a collector would hand it over. */
function asSampled(trajectory: Trajectory): Trajectory {
  const sampled = new Uint8Array(trajectory.tokens.length);
  for (const { begin, end } of trajectory.turns) sampled.fill(1, begin, end);
  return { ...trajectory, sampled, logProbs: Float32Array.from(sampled, (flag) => -0.25 * flag) };
}

const evaluation = (passAt1: number, passAt8: number, prediction: number | null): Evaluation => ({
  ...nameRates(passAt1, passAt8, 8),
  k: 8,
  ci95: nameRates([passAt1 - 0.05, passAt1 + 0.05], [passAt8 - 0.1, passAt8 + 0.1], 8),
  formatRate: 0.9876,
  observationAccuracy: prediction === null ? null : 0.99,
  predictionAccuracy: prediction,
  predictionAccuracyChanged: prediction === null ? null : 0.5,
  byDistance: {
    1: { ...nameRates(passAt1, passAt8, 8), levels: 3 },
    unknown: { ...nameRates(0, 0, 8), levels: 1 },
  },
  levels: 128,
  samples: 8,
});

export const results = {
  preset: config.preset,
  seed: config.seed,
  levels: {
    test: { count: 4, meanDistance: 1.5, distances: { 1: 2, 2: 2 } },
    tuning: { count: 1, meanDistance: null, distances: { unknown: 1 } },
  },
  evaluations: {
    spa: evaluation(0.7714, 0.898, 0.68),
    control: evaluation(0.252, 0.625, null),
    sft: evaluation(0.123, 0.414, 0.649),
  },
  stages: [],
};

/** A run folder with two stages that logged, results, and trajectories of a scripted agent; removed after the test. */
export async function exampleRun(): Promise<RunFolder> {
  const root = mkdtempSync(join(tmpdir(), "spa-report-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const run = RunFolder.create(config, { root, name: "example" });
  using _lock = run.lock();
  for (const [stage, offset] of [
    ["spa/ppo", 0.1],
    ["control/ppo", 0],
  ] as const) {
    run.beginStage(stage);
    for (let step = 1; step <= 6; step++) {
      const entropy = step === 3 ? Number.NaN : 1 / step;
      const cost = { time: 2 * step, tokens_seen: 1000 * step };
      const figures = { reward_mean: offset + step / 10, success_rate: step / 10, entropy, format_rate: 0.9 };
      run.metrics.append({ stage, step, ...cost, ...figures });
      if (stage === "spa/ppo" && step === 5) run.metrics.append({ stage, step, validation_pass_at_1: 0.5 });
    }
    run.completeStage(stage, { seconds: 75.5, tokensSampled: 123_456, tokensTrained: 6000 });
  }
  for (let step = 1; step <= 6; step++) {
    const played = await Promise.all([0, 1, 2, 3, 4].map((id) => playEpisode(10 * step + id)));
    run.trajectories("spa/ppo").append(step, played.map(asSampled), { decode });
  }
  run.beginSession({ package: "0.1.0", commit: "0123456789ab", machine: "a machine" });
  run.beginStage("evaluate/spa");
  run.trajectories("evaluate/spa").append(0, [await playEpisode(0)], { decode });
  run.writeResults(results as unknown as Json);
  return run;
}
