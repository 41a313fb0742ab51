import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { experiments } from "../../lib/experiments/definitions/index.ts";
import { describeArms } from "../../lib/experiments/describe-arms.ts";
import type { Experiment } from "../../lib/experiments/experiment.ts";
import { planExperiment } from "../../lib/experiments/plan.ts";
import { planUnder } from "../../lib/experiments/run-experiment.ts";
import { errorOf } from "../thrown-error.ts";

const runs = "/nowhere/runs";

const small: Experiment = {
  name: "small",
  claim: "",
  source: "",
  about: "",
  preset: "nano-frozen-lake",
  seeds: 2,
  arms: () => [
    { name: "plain", about: "plain", trains: "control" },
    { name: "answer", about: "answer", trains: "spa", ppo: ["ppo.mask=answer"] },
    { name: "all", about: "all", trains: "spa" },
    {
      name: "further",
      about: "further",
      trains: "format-only",
      from: { arm: "plain", stage: "control/ppo" },
    },
  ],
};

test("every run is planned once, and after the one that it starts from", () => {
  const plan = planExperiment({ experiment: small, runs });
  expect(plan.runs.map(({ kind, seed }) => `${kind} ${seed}`).sort()).toEqual(
    [1, 2]
      .flatMap((seed) =>
        ["base", "control", "world-model", "format-only", "format-only", "format-only"].map(
          (kind) => `${kind} ${seed}`,
        ),
      )
      .sort(),
  );
  for (const [index, run] of plan.runs.entries()) {
    if (run.after) expect(plan.runs.indexOf(run.after)).toBeLessThan(index);
  }
});

test("a run starts from the stage of the run before it", () => {
  const { arms } = planExperiment({ experiment: small, runs });
  const [plain, , all, further] = arms.map((arm) => arm.runs[0]);
  const [{ name: base }] = arms[0].bases;
  expect(plain.config.model).toEqual({ kind: "stage", run: `${runs}/${base}`, stage: "base", digest: null });
  expect(all.config.model).toMatchObject({ run: all.after?.folder, stage: "spa/sft-2" });
  expect(all.after?.config.model).toMatchObject({ run: `${runs}/${base}`, stage: "base" });
  expect(further.config.model).toMatchObject({ run: plain.folder, stage: "control/ppo" });
});

test("SPA may start from what another arm has trained", () => {
  const experiment: Experiment = {
    ...small,
    arms: (config) => [
      ...small.arms(config),
      { name: "again", about: "again", trains: "spa", from: { arm: "all", stage: "format-only/ppo" } },
    ],
  };
  const { arms } = planExperiment({ experiment, seeds: [1], runs });
  const [all, again] = [arms[2].runs[0], arms[4].runs[0]];
  expect(again.after).toMatchObject({ kind: "world-model", after: all });
  expect(again.after?.config.model).toMatchObject({ run: all.folder, stage: "format-only/ppo" });
  expect(arms[4].bases).toEqual(arms[2].bases);
});

test("experiments share what is the same", () => {
  const names = (experiment: Experiment) =>
    new Set(planExperiment({ experiment, runs }).runs.map(({ name }) => name));
  const one = names(small);
  const other = names({ ...small, name: "other", settings: () => ["ppo.steps=3"] });
  const shared = [...one].filter((name) => other.has(name));
  expect(shared.map((name) => name.replace(/-[0-9a-f]{8}$/, "")).sort()).toEqual([
    "nano-frozen-lake-1-base",
    "nano-frozen-lake-1-world-model",
    "nano-frozen-lake-2-base",
    "nano-frozen-lake-2-world-model",
  ]);
});

test("settings of the user's reach every run, an arm's own stand above them", () => {
  const plan = planExperiment({ experiment: small, settings: ["ppo.mask=response", "base.steps=7"], runs });
  expect(new Set(plan.runs.map(({ config }) => config.base.steps))).toEqual(new Set([7]));
  const masks = plan.arms.map((arm) => arm.runs[0].config.ppo.mask);
  expect(masks).toEqual(["response", "answer", "response", "response"]);
});

test("a pretrained model is its own base", () => {
  const plan = planExperiment({ experiment: small, source: "qwen2.5-0.5b-sokoban", seeds: [3], runs });
  const [plain, answer] = plan.arms.map((arm) => arm.runs[0]);
  expect(plain.after).toBeUndefined();
  expect(plain.config.model).toMatchObject({ kind: "pretrained" });
  expect(answer.after?.kind).toBe("world-model");
  expect(answer.after?.after).toBeUndefined();
});

test("an arm brings what it starts from", () => {
  const plan = planExperiment({ experiment: small, arms: ["further"], seeds: [1], runs });
  expect(plan.arms.map(({ arm }) => arm.name)).toEqual(["further"]);
  expect(plan.runs.map(({ kind }) => kind)).toEqual(["base", "control", "format-only"]);
});

test("an experiment's folder is named by the whole preset, or the file without its ending", () => {
  const folderOf = (source: string, settings: string[] = []) =>
    basename(planUnder("/nowhere", { experiment: small, source, settings }).folder);
  expect(folderOf("qwen2.5-0.5b-sokoban")).toBe("small-qwen2.5-0.5b-sokoban");
  expect(folderOf("nano-sokoban", ["ppo.steps=3"])).toMatch(/^small-nano-sokoban-[0-9a-f]{8}$/);
});

test("arms are told apart by what differs", () => {
  const { arms } = planExperiment({ experiment: small, seeds: [1], runs });
  const described = describeArms(arms);
  expect(described.answer.settings).toMatchObject({ "ppo.mask": "answer" });
  expect(described.answer.settings).not.toHaveProperty("protocol.maxTurns");
  expect(described.plain.settings).not.toHaveProperty("start");
  expect(described.further.settings).toMatchObject({ start: `${arms[0].runs[0].name}#control/ppo` });
  expect(described.all.folders.map((folder) => basename(folder))).toEqual([arms[2].runs[0].name]);
});

describe("refusals", () => {
  test.each(["seed=3", "arms=[spa]", "start=runs/a#base"])("%s is the experiment's to choose", (setting) => {
    const error = errorOf(() => planExperiment({ experiment: small, settings: [setting], runs }));
    expect(error).toMatchObject({
      code: "BAD_CONFIG",
      message: `${setting}: an experiment sets this itself, run by run`,
    });
  });

  test("an unknown arm, with the nearest", () => {
    const error = errorOf(() => planExperiment({ experiment: small, arms: ["anwser"], runs }));
    expect(error).toMatchObject({
      code: "UNKNOWN_NAME",
      message: 'there is no arm "anwser"; did you mean "answer"?',
    });
  });
});

test("an experiment on one environment refuses others", () => {
  const error = errorOf(() =>
    planExperiment({ experiment: { ...small, environment: "frozen-lake" }, source: "nano-sokoban", runs }),
  );
  expect(error).toMatchObject({
    code: "BAD_CONFIG",
    message: "experiment small is about frozen-lake, but the environment is sokoban",
  });
});

describe.each(experiments.map((experiment) => [experiment.name, experiment] as const))(
  "%s",
  (_, experiment) => {
    const { environment = "sokoban" } = experiment;
    test.each(["nano-frozen-lake", `qwen2.5-1.5b-${environment}`])("can be planned on %s", (source) => {
      const plan = planExperiment({ experiment, source, runs });
      expect(plan.arms.length).toBeGreaterThan(1);
      expect(plan.seeds).toHaveLength(experiment.seeds);
      const names = plan.arms.map(({ arm }) => arm.name);
      expect(new Set(names).size).toBe(names.length);
      for (const pair of experiment.comparisons ?? []) for (const name of pair) expect(names).toContain(name);
      // Two arms that come to the same run would be compared with themselves.
      const last = plan.arms.map((arm) => arm.runs[0].name);
      expect(new Set(last).size).toBe(last.length);
    });
  },
);
