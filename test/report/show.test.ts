import { expect, test } from "vitest";
import { colorWanted, show } from "../../lib/cli/show.ts";
import { errorOf } from "../thrown-error.ts";
import { exampleRun } from "./example-run.ts";

test("without a stage it says what there is", async () => {
  const text = show(await exampleRun(), {}, false);
  expect(text).toMatch(/spa\/ppo +30 +30 +1 … 6 \(6 steps\)/);
  expect(text).toMatch(/evaluate\/spa +1 +1 +0/);
});

test("a trajectory is printed turn by turn, with the written states beside the true ones", async () => {
  const text = show(await exampleRun(), { stage: "spa/ppo", step: 2, index: 1 }, false);
  expect(text).toContain("example  spa/ppo  step 2  trajectory 1 of 5");
  expect(text).toContain("level seed 28, shortest solution 4, solved, reward 1, 2 turns");
  expect(text).toContain("── turn 2 ──");
  expect(text).toContain("→ Right || Down; reward 0; observation right; prediction wrong");
  expect(text).toContain(`  before   observed   predicted   after
  P__      P__        P__ ≠       ___
  ___      ___        ___ ≠       _P_
  __G      __G        __G         __G`);
  expect(text).toMatch(/predicted +Player \(P\) at \(0,0\); goal \(G\) at \(2,2\)\. ≠/);
});

test("what an agent writes cannot steer the terminal; colours only where they are wanted", async () => {
  const run = await exampleRun();
  expect(show(run, { stage: "spa/ppo" }, false)).not.toContain("\x1b");
  expect(show(run, { stage: "spa/ppo" }, false)).toContain("\\x1b[31m");
  const painted = show(run, { stage: "spa/ppo" }, true);
  expect(painted).toContain("\x1b[38;5;78m");
  expect(painted.replaceAll(/\x1b\[[0-9;]*m/g, "")).not.toContain("\x1b");
  expect(colorWanted({}, true)).toBe(true);
  expect(colorWanted({}, undefined)).toBe(false);
  expect(colorWanted({ NO_COLOR: "1" }, true)).toBe(false);
  expect(colorWanted({ FORCE_COLOR: "1" }, false)).toBe(true);
  expect(colorWanted({ TERM: "dumb" }, true)).toBe(false);
});

test("a list has a line for each trajectory", async () => {
  const lines = show(await exampleRun(), { stage: "spa/ppo", list: true }, false).split("\n");
  expect(lines).toHaveLength(2 + 5);
  expect(lines[2].trim().split(/\s+/)).toEqual(["0", "67", "4", "2", "1.00", "yes", "terminated"]);
});

test("what is not there is named, with what is", async () => {
  const run = await exampleRun();
  const stage = errorOf(() => show(run, { stage: "spa/pop" }, false));
  expect(stage.code).toBe("UNKNOWN_NAME");
  expect(stage.message).toContain('did you mean "spa/ppo"?');
  expect(stage.hint).toContain("evaluate/spa");
  const step = errorOf(() => show(run, { stage: "spa/ppo", step: 99 }, false));
  expect([step.code, step.hint]).toEqual(["BAD_ARGUMENT", "logged steps: 1 … 6 (6 steps)"]);
  const index = errorOf(() => show(run, { stage: "spa/ppo", index: 5 }, false));
  expect(index.hint).toContain("--index 0 to 4");
});
