// Nothing that others have written steers the terminal, whichever way it gets there.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { toYaml } from "../../lib/cli/print.ts";
import { describeError } from "../../lib/cli/report-error.ts";
import { formatTable } from "../../lib/cli/table.ts";
import { SpaError } from "../../lib/errors.ts";
import { formatTrajectory } from "../../lib/report/trajectory-text.ts";
import { viewTrajectory } from "../../lib/report/trajectory-view.ts";
import { createProgress } from "../../lib/run/progress.ts";
import type { LoggedTrajectory } from "../../lib/run/trajectory-log.ts";
import { visibleJson, visibleLine, visibleText } from "../../lib/visible-text.ts";
import { spa } from "./spa.ts";

/** A title, a colour, a C1 command, an override of direction, a return to the line's begin. */
const hostile = "a\x1b]0;title\x07\x1b[31m\x9b2J\u202eb\rc\x7f";
const shown = "a\\x1b]0;title\\x07\\x1b[31m\\x9b2J\\u202eb\\x0dc\\x7f";
const steers = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-print-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("what would steer is shown by its number; lines, tabs and all other writing stay", () => {
  expect(visibleText(hostile)).toBe(shown);
  expect(visibleText("P_\n\t_G é 日本 😀")).toBe("P_\n\t_G é 日本 😀");
  expect(visibleLine("a\nb")).toBe("a\\nb");
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => !steers.test(visibleText(text))));
});

test("JSON and YAML are visible and mean the same", () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string({ unit: "binary-ascii" }), fc.string({ unit: "binary" })),
      (value) => {
        const json = visibleJson(value);
        expect(json).not.toMatch(steers);
        expect(JSON.parse(json)).toEqual(value);
      },
    ),
  );
  for (const text of [hostile, `${hostile}\nsecond line`, "plain", "\u202e", "\x85"]) {
    const yaml = toYaml({ [text]: text, list: [text] });
    expect(yaml).not.toMatch(steers);
    expect(parse(yaml)).toEqual({ [text]: text, list: [text] });
  }
});

test("tables keep their rows and widths", () => {
  expect(formatTable(["name", "n"], [["x\ny\x1b", "1"]]).split("\n")).toEqual([
    "name      n",
    "────────  ─",
    "x\\ny\\x1b  1",
  ]);
});

test("progress", () => {
  for (const mode of ["line", "plain", "json"] as const) {
    const written: string[] = [];
    const progress = createProgress({ mode, stream: { write: (text) => written.push(text), columns: 400 } });
    progress.stage(hostile, 2);
    progress.note(hostile);
    progress.tick(2, { [hostile]: hostile });
    progress.done();
    const text = written.join("").replaceAll("\r\x1b[2K", "").replaceAll("\n", "");
    expect(text).not.toMatch(steers);
    expect(text).toContain(mode === "json" ? "\\u202eb" : shown);
  }
});

test("errors, with the values that they name", () => {
  const text = describeError(new SpaError("BAD_CONFIG", hostile, { hint: hostile }), true);
  expect(text).not.toMatch(steers);
  expect(text).toContain(`error BAD_CONFIG: ${shown}\nhint: ${shown}`);
});

test("actions, states and replies of a trajectory", () => {
  const state = { grid: `${hostile}\nP_`, structured: hostile };
  const trajectory: LoggedTrajectory = {
    step: 0,
    group: 0,
    seed: 1,
    distance: null,
    success: false,
    totalReward: 0,
    finish: hostile,
    tokens: [1, 2],
    pieces: [
      [0, 0, 1, hostile],
      [4, 1, 1, hostile],
    ],
    logProbs: [-1],
    turns: [
      {
        begin: 1,
        end: 2,
        reward: 0,
        valid: false,
        invalidReason: hostile,
        actions: [`${hostile}\nforged line`],
        executed: 0,
        observation: hostile,
        prediction: hostile,
        stateBefore: state,
        stateAfter: state,
      },
    ],
  } as unknown as LoggedTrajectory;
  const view = viewTrajectory(trajectory, "grid");
  const text = formatTrajectory(view, hostile, { color: false });
  expect(text).not.toMatch(steers);
  expect(text).not.toMatch(/^forged/m);
  expect(text.split(shown).length).toBeGreaterThan(6);
  const painted = formatTrajectory(view, hostile, { color: true });
  expect(painted.replaceAll(/\x1b\[[\d;]*m/g, "").replace(/^grid.*$/m, "")).not.toMatch(steers);
  expect(painted).not.toContain("\x1b[31m");
});

test("commands: names, settings, options and files", async () => {
  writeFileSync(join(folder, "x.yaml"), `seed: "\\e[31m"\n? "k\\e[0m"\n: 1\n`);
  for (const args of [
    ["train", hostile],
    ["train", `${hostile}=1`],
    ["train", "./x.yaml"],
    ["show", hostile],
    ["compare", hostile],
    ["train", `--${hostile}`],
    [hostile],
  ]) {
    const { code, stdout, stderr } = await spa(folder, args);
    expect(code).toBeGreaterThan(1);
    expect(stdout + stderr).not.toMatch(steers);
    expect(stderr).toContain("\\x1b[");
  }
  const { stdout } = await spa(folder, ["train", "--dry-run", `environment.module="${"./x\u202ey.mjs"}"`]);
  expect(stdout).not.toMatch(steers);
});
