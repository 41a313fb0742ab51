import { expect, it } from "vitest";
import type { Environment } from "../../envs/environment.ts";
import { createGuarded, guard } from "../../envs/guard.ts";
import { createEnvironment, registerEnvironment } from "../../envs/index.ts";
import { SpaError } from "../../lib/errors.ts";
import { rejection } from "../thrown-error.ts";
import { caught } from "./errors.ts";

const info = { valid: true, effective: true, success: false };
const result = { observation: "P", reward: 0, terminated: false, truncated: false, info };

/** An environment that keeps the interface, with some parts replaced by what does not. */
function odd(changes: Record<string, unknown> = {}): Environment {
  const parts = {
    name: "odd",
    actions: ["Go", "Stay"],
    instructions: () => "Go",
    reset: () => "P",
    step: () => result,
    render: () => "P",
    state: () => ({ at: 0 }),
    restore: () => {},
  };
  return { ...parts, ...changes } as unknown as Environment;
}

const hang = () => new Promise(() => {});
const reject = (reason: unknown) => () => Promise.reject(reason);
const toss = (thrown: unknown) => () => {
  throw thrown;
};
const unreadable = {
  get message() {
    throw new Error("no");
  },
  toString: toss("no"),
};

// Each row: what is replaced, what is called, what the error says.
const calls: Record<string, (environment: Environment) => unknown> = {
  actions: (environment) => environment.actions,
  instructions: (environment) => environment.instructions(),
  reset: (environment) => environment.reset({ seed: 7 }),
  step: (environment) => environment.step("Go"),
  render: (environment) => environment.render("grid"),
  state: (environment) => environment.state(),
  restore: (environment) => environment.restore(null),
  parseAction: (environment) => environment.parseAction?.("left"),
  shortestSolution: (environment) => environment.shortestSolution?.(),
  close: (environment) => environment.close?.(),
};

const returned: [method: string, value: unknown, says: string][] = [
  ["instructions", 7, "instructions() returned 7, not a text"],
  ["instructions", Promise.resolve("x"), "instructions() returned a promise"],
  ["reset", ["P", {}], 'reset() returned an array: ["P",{}], not a text'],
  ["reset", undefined, "reset() returned undefined"],
  ["reset", Promise.resolve(null), "reset() returned null"],
  ["render", undefined, 'render("grid") returned undefined, not a text'],
  ["render", Promise.resolve("P"), 'render("grid") returned a promise'],
  ["state", Promise.resolve({}), "state() is a promise"],
  ["state", undefined, "state() is undefined"],
  ["state", { at: [1, Number.NaN] }, "state().at[1] is NaN"],
  ["state", { seen: new Map() }, "state().seen is a Map, not a plain object"],
  ["state", { big: 1n }, "state().big is 1n"],
  ["restore", Promise.resolve(), "restore() returned a promise"],
  ["parseAction", 3, 'parseAction("left") returned 3, not a text or null'],
  ["parseAction", Promise.resolve("Go"), 'parseAction("left") returned a promise'],
  ["shortestSolution", Promise.resolve(3), "shortestSolution() returned a promise"],
  ["shortestSolution", Number.POSITIVE_INFINITY, "shortestSolution() returned Infinity"],
  ["shortestSolution", -1, "shortestSolution() returned -1"],
  ["step", ["P", 0, true, {}], "step() returned an array of 4, not an object"],
  ["step", null, "step() returned null, not an object"],
  ["step", "P", 'step() returned "P", not an object'],
  ["step", { ...result, observation: undefined }, "step().observation is undefined, not a text"],
  ["step", { ...result, reward: "1" }, 'step().reward is "1", not a finite number'],
  ["step", { ...result, reward: Number.NaN }, "step().reward is NaN"],
  ["step", { ...result, terminated: "false" }, 'step().terminated is "false", not true or false'],
  ["step", { ...result, terminated: 0 }, "step().terminated is 0"],
  ["step", { ...result, terminated: Promise.resolve(true) }, "step().terminated is a promise"],
  ["step", { ...result, truncated: "None" }, 'step().truncated is "None"'],
  ["step", { ...result, info: null }, "step().info is null, not an object"],
  ["step", { ...result, info: {} }, "step().info.success is undefined"],
  ["step", { ...result, info: { ...info, success: "True" } }, 'step().info.success is "True"'],
  ["step", Promise.resolve({ ...result, info: [] }), "step().info.success is undefined"],
];

it.each(returned)("%s that returns %o is named", async (method, value, says) => {
  const environment = guard(odd({ [method]: () => value }));
  environment.turn = 3;
  const error = await rejection((async () => await calls[method](environment))());
  expect(error).toMatchObject({ code: "BAD_ENVIRONMENT", message: expect.stringContaining(says) });
  expect(error.message).toMatch(/^odd/);
  expect(error.hint).toContain(`${method}()`);
});

const thrown: [what: string, thrown: unknown, says: string][] = [
  ["an error", new TypeError("no server"), "threw: no server"],
  ["an error without text", new RangeError(), "threw: RangeError"],
  ["a text", "the server said no", "threw: the server said no"],
  ["an object", { code: 7 }, 'threw: an object: {"code":7}'],
  ["null", null, "threw: null"],
  ["undefined", undefined, "threw: undefined"],
  ["an unreadable object", unreadable, "threw: "],
  ["an unreadable error", Object.setPrototypeOf(unreadable, Error.prototype), "threw: an error that cannot"],
];

for (const [what, value, says] of thrown) {
  it.each(Object.keys(calls).filter((name) => name !== "actions"))(`${what} thrown by %s`, async (method) => {
    const environment = guard(odd({ [method]: toss(value) }));
    const error = await rejection((async () => await calls[method](environment))());
    expect(error).toMatchObject({ code: "BAD_ENVIRONMENT", message: expect.stringContaining(says) });
    expect(error.message).toContain(`${method}(`);
    expect(error.cause).toBe(value);
  });
}

it.each(["reset", "step", "close"])("a rejection of %s is what a throw would be", async (method) => {
  for (const reason of [new Error("gone"), "gone"]) {
    const environment = guard(odd({ [method]: reject(reason) }));
    const error = await rejection((async () => await calls[method](environment))());
    expect(error).toMatchObject({ code: "BAD_ENVIRONMENT", cause: reason });
    expect(error.message).toMatch(new RegExp(`odd.*${method}\\(.*threw: gone`));
  }
});

it("lets a promise that nobody waits for fail unheard", async () => {
  const late = reject(new Error("late"));
  for (const method of ["instructions", "render", "state", "restore", "parseAction", "shortestSolution"]) {
    expect(caught(() => calls[method](guard(odd({ [method]: late })))).code).toBe("BAD_ENVIRONMENT");
  }
  const flags = guard(odd({ step: () => ({ ...result, terminated: late() }) }));
  expect(caught(() => flags.step("Go")).message).toContain("terminated is a promise");
  expect(caught(() => createGuarded(late, "it")).code).toBe("BAD_ENVIRONMENT");
  await new Promise((resolve) => setTimeout(resolve, 5)); // Vitest fails on a rejection that nobody handles.
});

it("names level and turn where they are known", async () => {
  const environment = guard(odd({ step: toss("no") }));
  expect(caught(() => environment.step("Go")).message).toBe('odd: step("Go") threw: no');
  void environment.reset({ level: "P_G" });
  expect(caught(() => environment.step("Go")).message).toBe('odd at level "P_G": step("Go") threw: no');
  void environment.reset({ seed: 12, level: "P_G" });
  environment.turn = 2;
  expect(caught(() => environment.step("Go")).message).toBe(
    'odd at level seed 12, turn 2: step("Go") threw: no',
  );
});

it.each([
  [{ terminated: undefined, done: true }, "step() has done in its place"],
  [{ truncated: undefined, info: { ...info, "TimeLimit.truncated": false } }, "info.TimeLimit.truncated"],
  [{ info: { valid: true, effective: true, is_success: true } }, "step() has info.is_success in its place"],
  [{ success: true, info: { valid: true, effective: true } }, "step() has success in its place"],
  [{ info: { effective: true, success: true, action_is_valid: true } }, "info.action_is_valid"],
])("says where another interface has it: %j", (changes, says) => {
  const environment = guard(odd({ step: () => ({ ...result, ...changes }) }));
  expect(caught(() => environment.step("Go")).hint).toContain(says);
});

it("lets errors of the package keep their code", () => {
  const error = new SpaError("BAD_LEVEL", "line 1: no player");
  expect(() => guard(odd({ reset: toss(error) })).reset({ level: "" })).toThrow(error);
  expect(caught(() => createEnvironment("sokoban").reset({ level: "?" })).code).toBe("BAD_LEVEL");
  expect(caught(() => createEnvironment("frozen-lake").step("Up")).code).toBe("EPISODE_OVER");
});

it.each([
  ["Left,Right", 'actions is not an array of texts, but "Left,Right"'],
  [undefined, "actions is not an array of texts, but undefined"],
  [["Go", 1], "actions[1] is 1, not a text"],
  [["Go", ""], "actions[1] is an empty text"],
  [["Go", "Go"], 'actions has "Go" twice'],
  // biome-ignore lint/suspicious/noSparseArray: a hole is one of the things that come
  [["Go", , "Stay"], "actions[1] is undefined"],
])("refuses the actions %j, given at once or later", (actions, says) => {
  expect(caught(() => createGuarded(() => odd({ actions }), "it")).message).toContain(says);
  const inner = odd() as { actions: unknown };
  const environment = guard(inner as Environment);
  expect(environment.actions).toEqual(["Go", "Stay"]);
  inner.actions = actions;
  expect(caught(() => environment.actions).message).toContain(says);
});

it.each([
  [() => null, "it is not an object, but null"],
  [async () => odd(), "create() returned a promise"],
  [() => odd({ reset: undefined }), "reset is not a function"],
  [() => odd({ parseAction: "no" }), 'parseAction is "no", not a function'],
  [() => odd({ name: 3 }), "name is not a text, but 3"],
  [toss(new Error("no such game")), "create() threw: no such game"],
  [toss(undefined), "create() threw: undefined"],
])("refuses what a factory makes: %s", (create, says) => {
  const error = caught(() => createGuarded(create as () => unknown, "it"));
  expect(error.code).toBe("BAD_ENVIRONMENT");
  expect(error.message).toContain(says);
});

it("parseAction may give nothing for no action, shortestSolution for no solution", () => {
  const environment = guard(odd({ parseAction: () => undefined, shortestSolution: () => undefined }));
  expect(environment.parseAction?.("x")).toBeNull();
  expect(environment.shortestSolution?.()).toBeNull();
  expect(guard(odd()).parseAction).toBeUndefined();
});

it("is there once, and every environment made by name has it", () => {
  const inner = odd();
  expect(guard(inner)).toBe(guard(guard(inner)));
  registerEnvironment("odd-step", () => odd({ step: () => ({}) }));
  expect(caught(() => createEnvironment("odd-step").step("Go")).code).toBe("BAD_ENVIRONMENT");
});

it("calls methods on the object itself, also through an object derived from the guard", () => {
  class Counter {
    #steps = 0;
    name = "counter";
    actions = ["Go"];
    instructions = () => "";
    reset = () => "0";
    render = () => String(this.#steps);
    state = () => this.#steps;
    restore = () => {};
    step() {
      this.#steps++;
      return result;
    }
  }
  const environment = guard(new Counter());
  void environment.step("Go");
  expect(Object.create(environment).render("grid")).toBe("1");
});

it.each(["reset", "step"])("a %s that never answers is named after the time that it has", async (method) => {
  const environment = guard(odd({ [method]: hang }), { timeout: 0.02 });
  const play = async () => {
    await environment.reset({ seed: 5 });
    await environment.step("Go");
  };
  const error = await rejection(play());
  expect(error).toMatchObject({
    code: "BAD_ENVIRONMENT",
    hint: expect.stringContaining("environment.timeout"),
  });
  expect(error.message).toMatch(
    new RegExp(`^odd at level seed 5: ${method}\\(.*has not answered for 0.02 s`),
  );
});

it("waits as long as it takes where the time is null", async () => {
  const slow = () => new Promise((resolve) => setTimeout(resolve, 30, "P"));
  expect(await guard(odd({ reset: slow }), { timeout: null }).reset({ seed: 1 })).toBe("P");
  await expect(guard(odd({ reset: slow }), { timeout: 0.001 }).reset({ seed: 1 })).rejects.toThrow("0.001 s");
});

it("closes once, and does not wait for ever", async () => {
  let closed = 0;
  const environment = guard(odd({ close: () => closed++ }));
  await environment.close();
  await environment.close();
  expect(closed).toBe(1);
  await guard(odd()).close();
  const error = await rejection(guard(odd({ close: hang }), { timeout: 0.02 }).close());
  expect(error).toMatchObject({ code: "BAD_ENVIRONMENT", message: expect.stringContaining("close()") });
});
