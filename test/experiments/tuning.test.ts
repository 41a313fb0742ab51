import { describe, expect, test } from "vitest";
import type { Arm, Experiment } from "../../lib/experiments/experiment.ts";
import { planExperiment } from "../../lib/experiments/plan.ts";
import { planUnder } from "../../lib/experiments/run-experiment.ts";
import { candidatesOf, type Tuning, tunedExperiment } from "../../lib/experiments/tuning.ts";
import { errorOf } from "../thrown-error.ts";

const experiment: Experiment = {
  name: "small",
  claim: "",
  source: "",
  about: "",
  preset: "nano-frozen-lake",
  seeds: 2,
  arms: () => [
    { name: "base", about: "untrained", trains: null },
    { name: "plain", about: "plain", trains: "control" },
    { name: "spa", about: "SPA", trains: "spa", ppo: ["ppo.steps=9"] },
    { name: "on", about: "on", trains: "format-only", from: { arm: "spa", stage: "format-only/ppo" } },
  ],
};

describe("what is tried", () => {
  test("is every combination, the first values first", () => {
    expect(candidatesOf(["ppo.a=1,2", "ppo.b=[3,4],[5,6]", "ppo.c=x"])).toEqual([
      ["ppo.a=1", "ppo.b=[3,4]", "ppo.c=x"],
      ["ppo.a=1", "ppo.b=[5,6]", "ppo.c=x"],
      ["ppo.a=2", "ppo.b=[3,4]", "ppo.c=x"],
      ["ppo.a=2", "ppo.b=[5,6]", "ppo.c=x"],
    ]);
  });

  test.each(["sft.epochs=1,2", "ppo.steps", "ppo.steps="])("is PPO's alone, with values: not %s", (text) => {
    expect(errorOf(() => candidatesOf([text]))).toMatchObject({ code: "BAD_CONFIG" });
  });
});

test("every arm has the same trials, of another seed and on tuning levels", () => {
  const { trials, arms } = planUnder("/nowhere", {
    experiment,
    tune: ["ppo.optimizer.learningRate=1e-4,1e-3"],
  });
  expect(trials?.arms.map(({ arm }) => arm.name)).toEqual([
    "plain trial 1",
    "plain trial 2",
    "spa trial 1",
    "spa trial 2",
    "on trial 1",
    "on trial 2",
  ]);
  const ends = trials?.arms.map(({ runs: [run] }) => run.config) ?? [];
  expect(new Set(ends.map(({ seed, evaluation }) => `${seed} ${evaluation.split}`))).toEqual(
    new Set(["0 tuning"]),
  );
  // The control arm has an optimiser of its own name.
  expect(ends.slice(0, 2).map(({ control }) => control.optimizer.learningRate)).toEqual([1e-4, 1e-3]);
  expect(ends.slice(2).map(({ ppo }) => ppo.optimizer.learningRate)).toEqual([1e-4, 1e-3, 1e-4, 1e-3]);
  expect(ends.slice(2, 4).map(({ ppo }) => ppo.steps)).toEqual([9, 9]);
  // Trials of an arm share what it starts from, and one that starts from another's end finds that as the arm has it.
  expect(trials?.arms[2].runs[0].after).toBe(trials?.arms[3].runs[0].after);
  expect(trials?.arms[4].runs[0].after?.config.ppo.optimizer.learningRate).toBe(
    arms[2].runs[0].config.ppo.optimizer.learningRate,
  );
  expect(arms.map(({ runs }) => runs[0].config.evaluation.split)).toEqual(["test", "test", "test", "test"]);
});

test("trials have folders of their own, an experiment that tunes too", () => {
  const folderOf = (tune?: string[]) => planUnder("/nowhere", { experiment, tune }).folder;
  const folders = [folderOf(), folderOf(["ppo.steps=1,2"]), folderOf(["ppo.steps=1,3"])];
  expect(new Set(folders).size).toBe(3);
});

test("the seed of the trials is not reported", () => {
  const tuned = () => planUnder("/nowhere", { experiment, tune: ["ppo.steps=1,2"], seeds: [0, 1] });
  expect(errorOf(tuned)).toMatchObject({ code: "BAD_CONFIG", hint: expect.stringContaining("--seeds") });
});

test("arms are run with their best, those without results as they are", () => {
  const tuning: Tuning = {
    seed: 0,
    candidates: [["ppo.steps=3", "ppo.mask=answer"], ["ppo.steps=5"]],
    arms: {
      plain: { passAt1: [0.5, 0.25], chosen: 0 },
      spa: { passAt1: [0.1, 0.2], chosen: 1 },
      on: { passAt1: [null, null], chosen: null },
    },
  };
  const { arms } = planExperiment({
    experiment: tunedExperiment(experiment, tuning),
    seeds: [1],
    runs: "/nowhere",
  });
  const [, plain, spa, on] = arms.map(({ runs }) => runs[0].config);
  expect([plain.ppo.steps, plain.control.mask]).toEqual([3, "answer"]);
  expect([spa.ppo.steps, spa.ppo.mask]).toEqual([5, "response"]);
  expect(on.ppo.steps).toBe(60);
  const own: readonly Arm[] = experiment.arms(spa);
  expect(own[2].ppo).toEqual(["ppo.steps=9"]);
});
