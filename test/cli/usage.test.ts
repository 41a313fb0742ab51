import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { exitCodes } from "../../lib/cli/exit-codes.ts";
import { loadConfig } from "../../lib/config/load.ts";
import { presetNames } from "../../lib/config/presets.ts";
import { configSchema } from "../../lib/config/schema.ts";
import type { MeasuredPhase } from "../../lib/memory/measure.ts";
import type { MemoryPlan } from "../../lib/memory/plan.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { spa, start, writeTinyConfig } from "./spa.ts";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-usage-"));
  writeTinyConfig(folder);
  writeFileSync(join(folder, "broken.yaml"), "seed: 1\nppo: { steps: 4\n");
  makeRun("first");
  writeFileSync(join(folder, "broken.mjs"), "export const name = 'broken';\n");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A run folder of its own, outside runs/ so that it is never "the last run". */
function makeRun(name: string): RunFolder {
  return RunFolder.create(configSchema.parse({}), { root: join(folder, "others"), name });
}

describe("help", () => {
  test("the program's help has examples and exit codes", async () => {
    const { code, stdout } = await spa(folder, ["--help"]);
    expect(code).toBe(0);
    for (const word of [
      "train",
      "self-play",
      "sft",
      "ppo",
      "eval",
      "plan",
      "presets",
      "doctor",
      "setup",
      "Examples:",
    ]) {
      expect(stdout).toContain(word);
    }
    for (const [number, meaning] of exitCodes)
      expect(stdout).toContain(`  ${String(number).padEnd(4)} ${meaning}`);
  });

  test("every command has help of its own", async () => {
    const { stdout } = await spa(folder, ["--help"]);
    const commands = Array.from(stdout.matchAll(/^ {2}([a-z-]+)(?: \[| <| {2}).*/gm), ([, name]) => name);
    expect(commands.length).toBeGreaterThan(12);
    for (const command of commands.filter((name) => !["help", "setup"].includes(name))) {
      const help = await spa(folder, [command, "--help"]);
      expect(help).toMatchObject({ code: 0, stderr: "" });
      expect(help.stdout).toContain(`Usage: spa ${command} `);
    }
  });

  test.each(["train", "self-play", "sft", "ppo", "eval"])("%s --help has examples", async (command) => {
    const { code, stdout } = await spa(folder, [command, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toContain("Examples:");
    expect(stdout).toContain("--log <form>");
  });

  test("--version is the package's", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
    expect((await spa(folder, ["--version"])).stdout.trim()).toBe(version);
  });
});

describe("presets", () => {
  test("are listed with a sentence each", async () => {
    const { code, stdout } = await spa(folder, ["presets"]);
    expect(code).toBe(0);
    for (const name of presetNames())
      expect(stdout).toMatch(new RegExp(`^${name}( \\(default\\))? +[A-Z].*\\.$`, "m"));
  });

  test("one is printed with all its settings", async () => {
    const { stdout } = await spa(folder, ["presets", "nano-sudoku"]);
    expect(configSchema.parse(parse(stdout))).toEqual(loadConfig("nano-sudoku"));
  });

  test("a reader that closes the pipe is no failure", async () => {
    const { child, end } = start(folder, ["presets", "nano-sudoku"]);
    child.stdout!.destroy();
    expect(await end).toMatchObject({ code: 0, stderr: "" });
  });
});

describe("plan", () => {
  test("a table of stages with what was chosen to fit, or as JSON", async () => {
    const { code, stdout } = await spa(folder, ["plan", "tiny.yaml", "--memory", "1GB"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^stage +while +weights +gradients/m);
    expect(stdout).toMatch(/^ppo +sampling .* MB/m);
    expect(stdout).toMatch(/: fits \(950 MB of 1.00 GB/);
    const json = await spa(folder, ["plan", "tiny.yaml", "--memory", "1GB", "--json"]);
    const plan = JSON.parse(json.stdout) as MemoryPlan;
    expect(plan).toMatchObject({ fits: true, budget: 1e9, device: "cpu" });
    expect(plan.stages.map(({ stage }) => stage)).toEqual(["base", "self-play", "sft", "ppo", "evaluate"]);
  });

  test("--measure does the passes and sets what they took beside what was predicted", async () => {
    const { code, stdout } = await spa(folder, ["plan", "tiny.yaml", "--measure"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^stage +while +predicted +measured +ratio$/m);
    expect(stdout).toMatch(/^ppo +update +[\d.]+ MB +[\d.]+ MB +(0\.[89]|1\.[01])\d$/m);
    const json = await spa(folder, ["plan", "tiny.yaml", "--measure", "--json"]);
    const { measured } = JSON.parse(json.stdout) as { measured: MeasuredPhase[] };
    expect(measured.map(({ stage, phase }) => `${stage} ${phase}`)).toEqual([
      "base update",
      "self-play sampling",
      "sft update",
      "sft scoring",
      "sft sampling",
      "ppo update",
      "ppo scoring",
      "ppo sampling",
      "evaluate scoring",
      "evaluate sampling",
    ]);
  });

  test("a published model needs no files; what does not fit says what would, with code 1", async () => {
    const settings = ["model=Qwen/Qwen2.5-3B-Instruct", "engine.device=cuda", "engine.dtype=bfloat16"];
    const { code, stdout } = await spa(folder, ["plan", "tiny.yaml", ...settings, "--memory", "24GB"]);
    expect(code).toBe(1);
    expect(stdout).toContain("does not fit");
    expect(stdout).toContain("lora={}");
    const wrong = await spa(folder, ["plan", "tiny.yaml", "--memory", "plenty"]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain("24GB");
  });
});

describe("dry run", () => {
  test("prints the resolved configuration and estimates, and makes nothing", async () => {
    const { code, stdout } = await spa(folder, [
      "train",
      "tiny.yaml",
      "--dry-run",
      "--seed",
      "9",
      "ppo.steps=3",
    ]);
    expect(code).toBe(0);
    expect(configSchema.parse(parse(stdout))).toMatchObject({ preset: "tiny", seed: 9, ppo: { steps: 3 } });
    expect(stdout).toMatch(/^# spa\/ppo +[\d.]+k? +[\d.]+k?$/m);
    expect(stdout).toMatch(/^# memory about [\d.]+ MB on the CPU/m);
    expect(existsSync(join(folder, "runs"))).toBe(false);
  });

  test("of an LLM preset needs no network", async () => {
    const variables = { HF_HOME: folder, HF_ENDPOINT: "http://127.0.0.1:9", HF_HUB_OFFLINE: "" };
    const args = ["train", "qwen2.5-1.5b-sokoban", "--dry-run"];
    const { code, stdout, stderr } = await spa(folder, args, variables);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("path: Qwen/Qwen2.5-1.5B-Instruct");
    expect(stdout).toContain("parameters 1540M");
    expect(stdout).toContain("spa/ppo");
  });

  test("an environment of one's own takes the preset's place, without the options of the other", async () => {
    const example = fileURLToPath(new URL("../../examples/coin-grid-environment.mjs", import.meta.url));
    const { code, stdout, stderr } = await spa(folder, ["train", "tiny.yaml", "--dry-run", "--env", example]);
    expect(code, stderr).toBe(0);
    expect(parse(stdout).environment).toEqual({
      name: "coin-grid",
      options: {},
      module: example,
      timeout: 60,
    });
  });

  test("of an existing run prints what it was started with", async () => {
    const run = makeRun("dry");
    const { stdout } = await spa(folder, ["train", "--run", run.path, "--dry-run"]);
    expect(configSchema.parse(parse(stdout))).toEqual(run.config);
    expect(run.stages).toEqual([]);
  });
});

describe("wrong input ends with one error, a hint, the documented code, and no run folder", () => {
  const cases: [what: string, args: string[], code: number, message: string][] = [
    ["unknown command", ["trian"], 2, "Did you mean train?"],
    ["unknown command with --help", ["trian", "--help"], 2, "Did you mean train?"],
    ["--help of an unknown command", ["--help", "trian"], 2, "Did you mean train?"],
    ["help for an unknown command", ["help", "trian"], 2, "error: unknown command 'trian'"],
    ["an option that is no setting", ["train", "--lr", "1e-3"], 2, "settings are written key=value"],
    ["surplus argument", ["show", "a", "b"], 2, "spa show --help lists what it takes"],
    ["a nickname", ["train", "lr=1e-3"], 2, "did you mean base.optimizer.learningRate or"],
    ["unknown option", ["train", "--resum"], 2, "Did you mean --resume?"],
    ["unknown log form", ["train", "--log", "xml"], 2, "Allowed choices are auto, plain, json"],
    ["seed of letters", ["train", "--seed", "x"], 2, "It must be a whole number"],
    [
      "unknown preset",
      ["train", "nano-frozenlake"],
      2,
      'UNKNOWN_NAME: there is no preset "nano-frozenlake"; did you mean',
    ],
    [
      "unknown key",
      ["train", "ppo.stps=3"],
      2,
      "BAD_CONFIG: ppo.stps=3: there is no setting ppo.stps; did you mean ppo.steps?",
    ],
    ["wrong type", ["train", "ppo.steps=ten"], 2, "BAD_CONFIG: ppo.steps=ten: ppo.steps is"],
    ["two presets", ["train", "nano-sokoban", "nano-sudoku"], 2, '"nano-sudoku" is no setting'],
    ["YAML syntax", ["train", "broken.yaml"], 2, "broken.yaml:3:1"],
    ["missing file", ["train", "none.yaml"], 2, "there is no such file"],
    [
      "unknown environment",
      ["train", "environment.name=frozen-lak"],
      2,
      'UNKNOWN_NAME: there is no environment "frozen-lak"',
    ],
    ["unknown environment option", ["train", "environment.options.sise=4"], 2, "UNKNOWN_NAME"],
    ["environment option out of range", ["train", "environment.options.size=99"], 2, "BAD_ARGUMENT"],
    ["missing environment file", ["train", "--env", "none.mjs"], 2, "BAD_ENVIRONMENT"],
    ["environment file without factory", ["train", "--env", "broken.mjs"], 2, "BAD_ENVIRONMENT"],
    ["missing model folder", ["train", "model.kind=pretrained", "model.path=./none"], 4, "BAD_CHECKPOINT"],
    ["bad name", ["train", "--name", "a/b"], 2, "BAD_ARGUMENT"],
    ["nothing to resume", ["train", "--resume"], 2, "there is no run folder in runs/"],
    ["missing run", ["train", "--resume", "runs/none"], 4, "BAD_CHECKPOINT: runs/none does not exist"],
    [
      "missing run to show",
      ["show", "others/firts"],
      4,
      "others/firts does not exist; did you mean others/first?",
    ],
    [
      "missing run to compare",
      ["compare", "nope"],
      4,
      "nope/results.json cannot be read: nope does not exist",
    ],
    ["a folder to compare", ["compare", "."], 4, "results.json cannot be read: . is no run folder"],
    ["no k to compare by", ["compare", "others/first", "--pass-at", "1,0"], 2, "whole numbers from 1 on"],
    [
      "a run without results",
      ["compare", "others/first"],
      4,
      "the run has no results yet\nhint: evaluate it first",
    ],
    ["a folder of runs", ["show", "others"], 4, "is no run folder: it has no run.json\nhint: runs: others/"],
    ["a file for a run", ["show", "tiny.yaml"], 4, "tiny.yaml is no run folder"],
    ["missing run to export", ["export", "others/fist", "--to", "x"], 4, "did you mean others/first?"],
    ["a run for a configuration", ["train", "./others/first"], 2, "is a run folder, not a configuration"],
    ["unknown stage to export", ["export", "others/first", "--to", "x", "--stage", "ppo"], 2, "UNKNOWN_NAME"],
    ["a folder that is no run", ["eval", "--run", "."], 4, "is no run folder"],
    [
      "setting for --resume",
      ["train", "--resume", "seed=3"],
      2,
      "seed=3 cannot be given for an existing run",
    ],
    ["setting for a run", ["sft", "--run", "runs/none", "sft.epochs=3"], 2, "sft.epochs=3 cannot be given"],
    ["redo without a run", ["train", "--redo", "spa/ppo"], 2, "--redo needs the run"],
    ["unknown arm", ["ppo", "--arm", "spam"], 2, "Allowed choices are spa, control, format-only"],
  ];
  test.each(cases)("%s", async (_what, args, code, message) => {
    const outcome = await spa(folder, args);
    expect(outcome.stderr).toContain(message);
    expect(outcome.code).toBe(code);
    expect(outcome.stdout).toBe("");
    expect(outcome.stderr).not.toMatch(/^\s+at /m);
    if (!outcome.stderr.startsWith("error: ")) {
      expect(outcome.stderr).toMatch(/^error [A-Z_]+: .*(\n[^h].*)*\nhint: .+\n$/);
    }
    expect(existsSync(join(folder, "runs"))).toBe(false);
  });

  test("SPA_DEBUG adds the stack", async () => {
    const { stderr } = await spa(folder, ["train", "none"], { SPA_DEBUG: "1" });
    expect(stderr).toMatch(/^\s+at .*load\.js/m);
  });

  test("a run folder of another version is refused and left alone", async () => {
    const run = makeRun("version");
    const ledger = readFileSync(run.file("run.json"), "utf8").replace('"format": 1', '"format": 99');
    writeFileSync(run.file("run.json"), ledger);
    const { code, stderr } = await spa(folder, ["train", "--resume", run.path]);
    expect(code).toBe(4);
    expect(stderr).toContain("RUN_VERSION");
    expect(stderr).toContain("run format 99");
    expect(readFileSync(run.file("run.json"), "utf8")).toBe(ledger);
  });

  test("a second process in the same run folder is refused, by the first one's number", async () => {
    const run = makeRun("locked");
    using _lock = run.lock();
    const { code, stderr } = await spa(folder, ["train", "--resume", run.path]);
    expect(code).toBe(4);
    expect(stderr).toContain(`is in use by process ${process.pid}`);
  });

  test("an unknown stage to redo is refused with the stages that there are", async () => {
    const run = makeRun("redo");
    const { code, stderr } = await spa(folder, ["train", "--run", run.path, "--redo", "spa/ppoo"]);
    expect(code).toBe(2);
    expect(stderr).toContain('did you mean "spa/ppo"?');
    expect(stderr).toContain("spa/sft");
  });

  test("without libtorch the error is ADDON_MISSING, before there is a run folder", async () => {
    const outcome = await spa(folder, ["train", "tiny.yaml"], { LIBTORCH: "/nonexistent" });
    expect(outcome.code).toBe(3);
    expect(outcome.stderr).toContain("ADDON_MISSING");
    expect(outcome.stderr).toContain("npm run setup");
    expect(readdirSync(folder)).not.toContain("runs");
  });

  test("without a GPU engine.device=cuda is refused, before there is a run folder", async () => {
    const outcome = await spa(folder, ["train", "tiny.yaml", "engine.device=cuda"], {
      CUDA_VISIBLE_DEVICES: "",
    });
    expect(outcome.code).toBe(3);
    expect(outcome.stderr).toContain("UNSUPPORTED");
    expect(readdirSync(folder)).not.toContain("runs");
  });
});

describe("doctor", () => {
  test("prints what there is and tests the addon", async () => {
    const { code, stdout } = await spa(folder, ["doctor"]);
    expect(stdout).toMatch(/^libtorch +2\.\d+\.\d+ \((CPU|CUDA [\d.]+)\), found by .+: \//m);
    expect(stdout).toMatch(/^CPU kernels +(baseline|avx2|avx512)/m);
    expect(stdout.match(/^ {2}ok /gm)).toHaveLength(4);
    expect(stdout).toContain("Everything works.");
    expect(code).toBe(0);
  });

  test("without libtorch it still prints the rest, and says what to do", async () => {
    const { code, stdout } = await spa(folder, ["doctor"], { LIBTORCH: "/nonexistent" });
    expect(code).toBe(3);
    expect(stdout).toContain("Node.js");
    expect(stdout).toContain("LIBTORCH=/nonexistent");
    expect(stdout).toContain("hint: run `npm run setup`");
  });
});
