// How well a run's models foretell the true states, by the command.
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { perplexityTable } from "../../lib/cli/perplexity.ts";
import type { StatePerplexity, TextFit } from "../../lib/stages/perplexity.ts";
import { spa, writeTinyConfig } from "./spa.ts";

/** Enough of SFT for predictions to gain by it, and little else. */
const settings = [
  "arms=[spa]",
  "base.steps=200",
  "selfPlay.trajectories=192",
  "sft.epochs=12",
  "sft.optimizer.learningRate=8e-3",
  "sft.validationLevels=0",
  "ppo.steps=1",
  "ppo.validateEvery=0",
];

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "spa-perplexity-"));
  writeTinyConfig(folder);
  const trained = await spa(folder, ["train", "tiny.yaml", "--name", "a", ...settings]);
  expect(trained, trained.stderr).toMatchObject({ code: 0 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Measured = { model: string; states: StatePerplexity[] }[];

async function measured(...args: string[]): Promise<Measured> {
  const outcome = await spa(folder, ["perplexity", ...args, "--levels", "8", "--json"]);
  expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
  return JSON.parse(outcome.stdout);
}

/** Everything under a folder with its size and time of change. */
const contents = (path: string) =>
  readdirSync(path, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => [name, statSync(join(path, name)).size, statSync(join(path, name)).mtimeMs]);

test("SFT lowers the perplexity of predictions; nothing is written", async () => {
  const before = contents(folder);
  const models = await measured();
  expect(models.map(({ model }) => model)).toEqual(["base", "spa/sft", "spa/ppo"]);
  for (const { states } of models) {
    expect(states.map(({ form }) => form)).toEqual(["grid", "structured"]);
    for (const { observation, prediction, both } of states) {
      expect(observation.states).toBe(prediction.states);
      expect(both.states).toBe(2 * prediction.states);
      expect(both.tokens).toBe(observation.tokens + prediction.tokens);
    }
  }
  // What the run was trained to write.
  const [base, sft] = models.map(({ states }) => states[1]);
  expect(sft.prediction.perplexity!).toBeLessThan(base.prediction.perplexity!);
  expect(sft.observation.perplexity!).toBeLessThan(base.observation.perplexity!);
  expect(sft.prediction.natsPerState!).toBeLessThan(base.prediction.natsPerState!);
  // A run that starts from a stage begins with that stage's model.
  const [start] = await measured("tiny.yaml", "start=runs/a#spa/sft", "--states", "structured");
  expect(start.states).toEqual([sft]);
  const alone = await measured("--run", "runs/a", "--stage", "spa/sft", "--states", "structured");
  expect(alone).toEqual([{ model: "spa/sft", states: [sft] }]);
  expect(contents(folder)).toEqual(before);
});

test.each([
  [
    "an unknown stage",
    ["--run", "runs/a", "--stage", "spa/sff"],
    2,
    'no finished stage "spa/sff" with a model; did you mean "spa/sft"?',
  ],
  [
    "more levels than there are",
    ["--run", "runs/a", "--levels", "9"],
    2,
    "--levels 9: there are 8 tuning levels",
  ],
  [
    "a model that is not trained",
    ["nano-sokoban"],
    2,
    "the nano model has to be trained before it is measured",
  ],
  ["a stage beside settings", ["tiny.yaml", "--stage", "spa/sft"], 2, "--stage names a stage of a run"],
  ["settings for a run", ["seed=2", "--run", "runs/a"], 2, "seed=2 cannot be given for the existing run"],
  ["another form of states", ["--states", "text"], 2, "It must be among grid,structured,coordinates."],
  ["no levels", ["--levels", "0"], 2, "It must be a whole number, 1 or more."],
] as const)("%s", async (_, args, code, message) => {
  const outcome = await spa(folder, ["perplexity", ...args]);
  expect(outcome.stderr).toContain(message);
  expect(outcome.code).toBe(code);
});

test("the table has a line for each model and form, perplexities above nats", () => {
  const texts = (perplexity: number | null): TextFit => ({
    perplexity,
    natsPerState: perplexity && 10 * perplexity,
    tokens: 1,
    states: 1,
  });
  const fits: StatePerplexity = {
    form: "grid",
    observation: texts(1.23456),
    prediction: texts(2),
    predictionChanged: texts(12345678),
    both: texts(1.5),
    grid: texts(1.5),
    coordinates: texts(null),
    tooLong: 2,
  };
  const lines = perplexityTable([{ model: "base", states: [fits] }]).split("\n");
  expect(lines[0].split(/ {2,}/)).toEqual([
    "perplexity per token",
    "states",
    "observation",
    "prediction",
    "changed",
    "both",
    "grid",
    "coordinates",
  ]);
  expect(lines[2].split(/ {2,}/)).toEqual([
    "base",
    "grid",
    "1.235",
    "2.000",
    "1.235e+7",
    "1.500",
    "1.500",
    "–",
  ]);
  expect(lines[6].split(/ {2,}/)).toEqual([
    "base",
    "grid",
    "12.35",
    "20.00",
    "1.235e+8",
    "15.00",
    "15.00",
    "–",
  ]);
  expect(lines.at(-1)).toBe("grid: 2 levels left out, longer than protocol.maxTokens");
});
