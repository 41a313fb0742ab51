import { expect, test } from "vitest";
import { createEnvironment } from "../../envs/index.ts";
import { loadConfig } from "../../lib/config/load.ts";
import { presetFiles, presetNames, presetSummary } from "../../lib/config/presets.ts";
import { knownModels } from "../../lib/hub/known-models.ts";
import { errorOf } from "../thrown-error.ts";

const models = {
  "qwen2.5-0.5b": "Qwen/Qwen2.5-0.5B-Instruct",
  "qwen2.5-1.5b": "Qwen/Qwen2.5-1.5B-Instruct",
  "qwen2.5-3b": "Qwen/Qwen2.5-3B-Instruct",
  "llama-3.2-1b": "meta-llama/Llama-3.2-1B-Instruct",
};
const environments = ["sokoban", "frozen-lake", "sudoku"];
const pairs = Object.entries(models).flatMap(([model, id]) =>
  environments.map((environment) => [`${model}-${environment}`, id, environment] as const),
);

test("every model has a preset for every environment, beside the nano presets", () => {
  const names = presetNames().filter((name) => !name.startsWith("nano-"));
  expect(names).toEqual(pairs.map(([name]) => name).sort());
});

test.each(pairs)("%s has the paper's settings", (name, id, environment) => {
  const config = loadConfig(name);
  expect(config.preset).toBe(name);
  expect(config.model).toEqual({ kind: "pretrained", path: id, revision: "main" });
  expect(knownModels[id]).toBeDefined();
  expect(config.environment.name).toBe(environment);
  createEnvironment(environment, config.environment.options);
  expect(config.protocol).toMatchObject({
    style: "full",
    promptState: "structured",
    traceState: "structured",
    forceThink: true,
    maxTurns: 5,
    maxActionsPerTurn: 5,
    maxActions: environment === "sudoku" ? 50 : 10,
    maxNewTokens: 400,
    formatPenalty: 0.1,
  });
  expect(config.selfPlay.trajectories).toBe(5 * 256);
  expect(config.sft).toMatchObject({
    epochs: 5,
    mask: "full",
    optimizer: { learningRate: 1e-4, betas: [0.9, 0.95] },
  });
  expect(config.ppo).toMatchObject({
    steps: 1000,
    groups: 32,
    groupSize: 8,
    minibatch: 64,
    optimizer: { learningRate: 1e-6 },
    criticOptimizer: { learningRate: 1e-5 },
    loss: {
      clipLow: 0.2,
      clipHigh: 0.28,
      dualClip: 3,
      valueClip: 0.5,
      entropyCoefficient: 0.001,
      klCoefficient: 0,
    },
    advantage: { estimator: "gae", gamma: 1, lambda: 1 },
    filter: { kind: "ratio", value: 0.25 },
  });
  expect(config.control.optimizer).toEqual(config.ppo.optimizer);
  expect(config.levels).toMatchObject({ trainSeed: 10_000, testSeed: 123, testLevels: 128 });
  expect(config.evaluation).toMatchObject({ samples: 8, temperature: 1 });
});

test("a preset of an LLM is made of three files, and another model may be put in its place", () => {
  expect(presetFiles("qwen2.5-3b-sudoku").map((file) => file.split("/presets/")[1])).toEqual([
    "llm/llm.yaml",
    "llm/models/qwen2.5-3b.yaml",
    "llm/environments/sudoku.yaml",
  ]);
  expect(presetSummary("qwen2.5-3b-sudoku")).toBe("Qwen2.5-3B-Instruct on Sudoku 4x4 with ten clues.");
  const config = loadConfig("qwen2.5-3b-sudoku", ["model=./mine"]);
  expect(config.model).toMatchObject({ path: "./mine" });
  expect(config.protocol.maxActions).toBe(50);
  const error = errorOf(() => presetFiles("qwen2.5-1.5b-sokobann"));
  expect([error.code, error.message]).toEqual([
    "UNKNOWN_NAME",
    expect.stringContaining('"qwen2.5-1.5b-sokoban"?'),
  ]);
});
