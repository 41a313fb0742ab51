import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import type { Environment } from "../../envs/environment.ts";
import {
  createEnvironment,
  environmentDescription,
  environmentNames,
  loadEnvironmentModule,
  registerEnvironment,
} from "../../envs/index.ts";
import { builtIn } from "./built-in.ts";
import { caught } from "./errors.ts";
import { playAll } from "./play.ts";

const folder = mkdtempSync(join(tmpdir(), "spa-envs-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Writes a module and gives its path. */
function moduleFile(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe("createEnvironment", () => {
  it("makes the environments that come with the package", () => {
    expect(environmentNames()).toEqual(expect.arrayContaining(builtIn));
    for (const name of builtIn) {
      const environment = createEnvironment(name);
      expect(environment.name).toBe(name);
      expect(environment.instructions().length).toBeGreaterThan(50);
      expect(environmentDescription(name)).not.toBe("");
      const grid = environment.reset({ seed: 1 });
      expect(environment.render("grid")).toBe(grid);
      expect(environment.render("structured").startsWith(`${grid}\n`)).toBe(true);
    }
    expect(
      createEnvironment("sokoban", { rows: 7, boxes: 2, searchDepth: 20 }).reset({ seed: 2 }),
    ).toHaveLength(48);
  });

  it("names the nearest environment and option", () => {
    const attempt = (name: string, options?: Record<string, unknown>) =>
      caught(() => createEnvironment(name, options));
    expect(attempt("frozenlake")).toMatchObject({ code: "UNKNOWN_NAME" });
    expect(attempt("frozenlake").hint).toContain('did you mean "frozen-lake"?');
    expect(attempt("chess").hint).toContain("known: bandit, ");
    expect(attempt("sokoban", { boxs: 2 })).toMatchObject({ code: "UNKNOWN_NAME" });
    expect(attempt("sokoban", { boxs: 2 }).hint).toContain('did you mean "boxes"?');
    expect(attempt("frozen-lake", { slipery: true }).hint).toContain('"slippery"');
    expect(attempt("sudoku", { difficult: "easy" }).hint).toContain('"difficulty"');
    expect(attempt("bandit", { arms: 3 }).hint).toContain("known: steadyArm");
    expect(attempt("frozen-lake", { symbols: { H: "x" } })).toMatchObject({ code: "UNKNOWN_NAME" });
  });

  it.each([
    ["frozen-lake", { size: "4" }, "size"],
    ["frozen-lake", { size: 1 }, "size"],
    ["frozen-lake", { frozenProbability: 0 }, "frozenProbability"],
    ["frozen-lake", { symbols: { P: "" } }, "symbols"],
    ["frozen-lake", { symbols: { P: "PP" } }, "symbols"],
    ["frozen-lake", { symbols: { P: " " } }, "symbols"],
    ["frozen-lake", { symbols: { P: "G" } }, "symbols"],
    ["sokoban", { boxes: 0 }, "boxes"],
    ["sokoban", { rows: 2.5 }, "rows"],
    ["sudoku", { difficulty: "esay" }, "difficulty"],
    ["sudoku", { maxSteps: null }, "maxSteps"],
    ["bandit", { riskyArm: "two words" }, "riskyArm"],
    ["countdown", { numbers: 9 }, "numbers"],
  ])("refuses %s with %j", (name, options, key) => {
    const error = caught(() => createEnvironment(name, options));
    expect(error.code).toBe("BAD_ARGUMENT");
    expect(error.message).toContain(`environment "${name}", option "${key}`);
  });
});

describe("registerEnvironment", () => {
  const lake = (): Environment => createEnvironment("frozen-lake", { slippery: false });

  it("makes an environment known, asynchronous ones too", async () => {
    const remote = (): Environment => {
      const inner = lake();
      return {
        name: "remote-lake",
        actions: inner.actions,
        instructions: () => inner.instructions(),
        reset: async (options) => inner.reset(options),
        step: async (action) => inner.step(action),
        render: (mode) => inner.render(mode),
        state: () => inner.state(),
        restore: (state) => inner.restore(state),
      };
    };
    registerEnvironment("remote-lake", remote, { description: "over there" });
    registerEnvironment("remote-lake", remote);
    const environment = createEnvironment("remote-lake");
    expect(await environment.reset({ level: "PG" })).toBe("PG");
    expect((await environment.step("Right")).terminated).toBe(true);
    expect(caught(() => registerEnvironment("remote-lake", lake)).code).toBe("BAD_ARGUMENT");
  });

  it("refuses bad names and factories, and what does not keep the interface", () => {
    for (const name of ["", "Frozen", "a b", "-a", "../x"]) {
      expect(caught(() => registerEnvironment(name, lake)).code).toBe("BAD_ARGUMENT");
    }
    expect(caught(() => registerEnvironment("sokoban", lake)).message).toContain("already");
    expect(caught(() => registerEnvironment("half", "lake" as never)).code).toBe("BAD_ARGUMENT");
    registerEnvironment("half-built", () => ({ ...lake(), name: "half-built" }) as never);
    const error = caught(() => createEnvironment("half-built"));
    expect(error).toMatchObject({ code: "BAD_ENVIRONMENT" });
    expect(error.message).toContain("instructions is not a function");
    registerEnvironment("nothing", () => null as never);
    expect(caught(() => createEnvironment("nothing")).code).toBe("BAD_ENVIRONMENT");
  });
});

describe("loadEnvironmentModule", () => {
  const example = fileURLToPath(new URL("../../examples/coin-grid-environment.mjs", import.meta.url));

  it("loads the example, which plays", async () => {
    expect(await loadEnvironmentModule(example)).toBe("coin-grid");
    expect(await loadEnvironmentModule(example)).toBe("coin-grid");
    const environment = createEnvironment("coin-grid", { size: 3 });
    expect(environment.reset({ level: "P__\n__C\n___" })).toBe("P__\n__C\n___");
    expect(environment.render("structured")).toBe("P__\n__C\n___\nPlayer (P) at (0,0); coin (C) at (1,2).");
    const state = environment.state();
    const played = playAll(environment, ["Up", "Jump", "Right", "Down", "Right", "Right"]);
    expect(played.map((result) => (result as { info?: unknown }).info)).toEqual([
      { valid: true, effective: false, success: false },
      { valid: false, effective: false, success: false },
      { valid: true, effective: true, success: false },
      { valid: true, effective: true, success: false },
      { valid: true, effective: true, success: true },
      undefined,
    ]);
    environment.restore(state);
    expect(environment.render("grid")).toBe("P__\n__C\n___");
    for (let seed = 0; seed < 50; seed++) {
      expect((environment.reset({ seed }) as string).match(/[PC]/g)).toHaveLength(2);
    }
  });

  it.each([
    ["missing.mjs", null, "no environment file"],
    ["syntax.mjs", "export const = 1;", "could not be loaded"],
    ["throws.mjs", 'throw new Error("no licence");', "no licence"],
    ["nameless.mjs", "export function create() {}", "does not export name"],
    ["idle.mjs", 'export const name = "idle";', "does not export create"],
  ])("says what is wrong with %s", async (file, content, problem) => {
    const path = content === null ? join(folder, file) : moduleFile(file, content);
    const error = await loadEnvironmentModule(path).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: "SpaError", code: "BAD_ENVIRONMENT" });
    expect((error as Error).message).toContain(problem);
    expect((error as Error).message).toContain(file);
  });

  it("refuses a name that is taken", async () => {
    const path = moduleFile("again.mjs", 'export const name = "sokoban"; export function create() {}');
    await expect(loadEnvironmentModule(path)).rejects.toMatchObject({ code: "BAD_ARGUMENT" });
  });
});
