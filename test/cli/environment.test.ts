// Environments of one's own on the command line: checked before anything is trained, closed at the end, and never in its way.
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { spa, start, writeTinyConfig } from "./spa.ts";

const example = fileURLToPath(new URL("../../examples/coin-grid-environment.mjs", import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-environment-"));
  writeTinyConfig(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const quickly = [
  "tiny.yaml",
  "arms=[control]",
  "base.steps=10",
  "ppo.steps=1",
  "ppo.validateEvery=0",
  "environment.options.size=3",
];

/** Writes a module on the example's: `changes` is an object of members, `before` runs when the module is loaded. */
function moduleFile(name: string, changes: string, before = "", returned = "environment"): string {
  const content = `import { create as coin } from ${JSON.stringify(example)};
export const name = ${JSON.stringify(name)};
${before}
export const create = (options) => {
  const inner = coin(options);
  const environment = { ...inner, name, ...${changes} };
  return ${returned};
};`;
  writeFileSync(join(folder, `${name}.mjs`), content);
  return `${name}.mjs`;
}

/** Things that keep a process alive, and a count of what was made and closed that is written at the very end. */
const held = `
import { createServer } from "node:net";
import { writeSync } from "node:fs";
import { Worker } from "node:worker_threads";
let made = 0;
let closed = 0;
createServer().listen(0, "127.0.0.1");
setInterval(() => {}, 1000);
new Worker("setInterval(() => {}, 1000)", { eval: true });
process.on("exit", () => writeSync(2, "made " + made + ", closed " + closed + "\\n"));`;
const counted = "(made++, { close() { closed++; } })";

/** The counts that {@link held} wrote. */
function counts(stderr: string): [made: number, closed: number] {
  const [, made, closed] = /made (\d+), closed (\d+)\s*$/.exec(stderr) ?? [];
  return [Number(made), Number(closed)];
}

test("what is wrong is said before there is a run folder", async () => {
  const wrong: [file: string, says: string[]][] = [
    [
      moduleFile(
        "gym",
        "{ step: (a) => { const r = inner.step(a); return [r.observation, r.reward, r.terminated, r.info]; } }",
      ),
      [
        "gym at level seed 123",
        "step() returned an array of 4",
        "hint: a tuple (observation, reward, done, info)",
      ],
    ],
    [
      moduleFile(
        "done",
        "{ step: (a) => { const { terminated: done, ...r } = inner.step(a); return { ...r, done }; } }",
      ),
      ["step().terminated is undefined", "step() has done in its place"],
    ],
    [
      moduleFile("single", "{}", "let one;", "(one ??= environment)"),
      ["create() returned the same object twice; two episodes cannot share one"],
    ],
  ];
  for (const [file, says] of wrong) {
    const { code, stderr } = await spa(folder, ["train", ...quickly, "--env", file]);
    expect(code).toBe(2);
    expect(stderr).toContain("error BAD_ENVIRONMENT: ");
    for (const text of says) expect(stderr).toContain(text);
  }
  expect(existsSync(join(folder, "runs"))).toBe(false);
});

test("a run ends though its environment holds on, and closes all it made: success, Ctrl-C and failure", async () => {
  const file = moduleFile("held", counted, held);
  const done = await spa(folder, ["train", ...quickly, "--env", file, "--name", "held"]);
  expect(done, done.stderr).toMatchObject({ code: 0, signal: null });
  expect(done.stdout).toContain("Pass@1");
  expect(done.stdout).toMatch(/report\.html; results: .*results\.json\n$/);
  const [made, closed] = counts(done.stderr);
  expect(made).toBeGreaterThan(5);
  expect(closed).toBe(made);

  const args = ["train", ...quickly, "base.steps=5000", "--env", file, "--name", "stopped"];
  const running = start(folder, args);
  await running.says("base  begins");
  running.child.kill("SIGINT");
  const stopped = await running.end;
  expect(stopped).toMatchObject({ code: 130, signal: null });
  expect(stopped.stderr).toContain("Go on with: npx spa train --resume runs/stopped");
  expect(counts(stopped.stderr)[1]).toBe(counts(stopped.stderr)[0]);

  const late = "let steps = 0;";
  const failing = moduleFile(
    "failing",
    "(made++, { close() { closed++; }, step(a) { if (++steps > 3000) throw 'the line is dead'; return inner.step(a); } })",
    held + late,
  );
  const failed = await spa(folder, [
    "train",
    ...quickly,
    "base.steps=500",
    "--env",
    failing,
    "--name",
    "failed",
  ]);
  expect(failed.code).toBe(2);
  expect(failed.stderr).toMatch(
    /BAD_ENVIRONMENT: failing at level seed \d+, turn \d+: step\("\w+"\) threw: the line is dead/,
  );
  expect(counts(failed.stderr)[1]).toBe(counts(failed.stderr)[0]);
  expect(readdirSync(join(folder, "runs", "failed"))).toContain("run.json");
});

test("an environment that never answers is named after environment.timeout seconds", async () => {
  const file = moduleFile("mute", "{ reset: () => new Promise(() => {}) }");
  const { code, stderr } = await spa(folder, ["train", ...quickly, "environment.timeout=0.2", "--env", file]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/BAD_ENVIRONMENT: mute at level seed \d+: reset\(\) has not answered for 0\.2 s/);
  expect(stderr).toContain("hint: environment.timeout");
});

test("env check tries a file or a name, and says what it found", async () => {
  const good = await spa(folder, ["env", "check", example, "environment.options.size=5"]);
  expect(good, good.stderr).toMatchObject({ code: 0, stderr: "" });
  expect(good.stdout).toMatch(/^coin-grid\n {2}ok {5}interface: 4 actions/);
  expect(good.stdout).toMatch(/^ {2}ok {5}random policy: Pass@1 0\.\d+ \[/m);
  expect(good.stdout).toMatch(/open handles: nothing is left/);
  expect(good.stdout).toMatch(/\nNothing is wrong\.\n$/);

  const json = await spa(folder, ["env", "check", "sudoku", "nano-sudoku", "--json"]);
  expect(json.code).toBe(0);
  const report = JSON.parse(json.stdout);
  expect(report).toMatchObject({ environment: "sudoku", faults: 0 });
  expect(report.findings).toContainEqual(expect.objectContaining({ check: "two at once", verdict: "ok" }));

  const wrong = moduleFile("slips", "{ step: (a) => inner.step(Math.random() < 0.5 ? 'Up' : a) }");
  const bad = await spa(folder, ["env", "check", wrong]);
  expect(bad.code).toBe(2);
  expect(bad.stdout).toMatch(
    /^ {2}FAULT {2}steps: equal seed and actions come to different ends: level seed \d+/m,
  );
  expect(bad.stdout).toMatch(/\n\d wrong: see docs\/environments\.md\.\n$/);

  const open = await spa(folder, ["env", "check", moduleFile("open", counted, held)]);
  expect(open).toMatchObject({ code: 0, signal: null });
  expect(open.stdout).toMatch(/note {3}open handles: left behind: .*Timeout/);
  expect(counts(open.stderr)[1]).toBe(counts(open.stderr)[0]);
});

test("env check has help, and refuses what it does not know", async () => {
  const help = await spa(folder, ["env", "check", "--help"]);
  expect(help.code).toBe(0);
  expect(help.stdout).toContain("Examples:");
  const unknown = await spa(folder, ["env", "check", "frozen-lak"]);
  expect(unknown.code).toBe(2);
  expect(unknown.stderr).toContain('did you mean "frozen-lake"?');
  const missing = await spa(folder, ["env", "check", "./none.mjs"]);
  expect(missing.stderr).toContain("there is no environment file ./none.mjs");
});
