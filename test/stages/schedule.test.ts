// What a run does, in order, by its arms and by the policies that it is compared with.
import { describe, expect, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { scheduleStages } from "../../lib/stages/schedule.ts";
import { tinyConfig } from "./tiny-run.ts";

const stagesOf = (changes: Record<string, unknown>) =>
  scheduleStages(tinyConfig(changes)).map(({ id }) => id);
const issuesOf = (settings: Record<string, unknown>) =>
  configSchema.safeParse(settings).error?.issues.map(({ path }) => path.join("."));

describe("reference policies", () => {
  test("are all evaluated unless some are named, in the schedule's own order", () => {
    expect(stagesOf({ arms: ["control"] })).toEqual([
      "evaluate/random",
      "base",
      "evaluate/base",
      "evaluate/baseWorldModel",
      "control/ppo",
      "evaluate/control",
    ]);
    expect(stagesOf({ arms: ["control"], evaluation: { references: ["baseWorldModel", "random"] } })).toEqual(
      ["evaluate/random", "base", "evaluate/baseWorldModel", "control/ppo", "evaluate/control"],
    );
    expect(stagesOf({ arms: ["control"], evaluation: { references: [] } })).toEqual([
      "base",
      "control/ppo",
      "evaluate/control",
    ]);
  });

  test("are named once each", () => {
    expect(issuesOf({ evaluation: { references: ["base", "base"] } })).toEqual(["evaluation.references"]);
  });
});

describe("a run without arms", () => {
  test("trains its base, and evaluates it", () => {
    expect(stagesOf({ arms: [] })).toEqual([
      "evaluate/random",
      "base",
      "evaluate/base",
      "evaluate/baseWorldModel",
    ]);
    expect(stagesOf({ arms: [], evaluation: { references: [] } })).toEqual(["base"]);
  });

  test("must have something to do", () => {
    const model = { kind: "pretrained", path: "somewhere" };
    expect(issuesOf({ arms: [], model })).toBeUndefined();
    expect(issuesOf({ arms: [], model, evaluation: { references: [] } })).toEqual(["arms"]);
  });
});
