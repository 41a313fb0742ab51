import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BanditEnvironment } from "../../envs/bandit/environment.ts";
import { evaluate, isReachable } from "../../envs/countdown/arithmetic.ts";
import { CountdownEnvironment } from "../../envs/countdown/environment.ts";
import { caught } from "./errors.ts";
import { playAll } from "./play.ts";

const SEEDS = Array.from({ length: 400 }, (_, seed) => seed);

describe("bandit", () => {
  it("pays as its arms do, the order of the names drawn by the seed", () => {
    const environment = new BanditEnvironment();
    const orders = new Set<string>();
    let total = 0;
    for (const seed of SEEDS) {
      orders.add(environment.reset({ seed }));
      const result = environment.step("prospector ");
      expect(result).toMatchObject({
        terminated: true,
        info: { valid: true, effective: true, success: true },
      });
      total += result.reward;
      environment.reset({ seed });
      expect(environment.step("Clerk")).toMatchObject({ reward: 0.1, info: { success: false } });
    }
    expect(orders).toEqual(new Set(["Clerk Prospector", "Prospector Clerk"]));
    expect(total / SEEDS.length).toBeGreaterThan(0.18);
    expect(total / SEEDS.length).toBeLessThan(0.32);
  });

  it("ends with one action, whatever it is", () => {
    const environment = new BanditEnvironment();
    environment.reset({ seed: 1, level: "Clerk Prospector" });
    expect(environment.render("structured")).toBe(
      "Clerk Prospector\nArms: Clerk and Prospector; pulled and paid: none.",
    );
    expect(environment.step("Banker")).toEqual({
      observation: "Clerk Prospector: no arm 0",
      reward: 0,
      terminated: true,
      truncated: false,
      info: { valid: false, effective: false, success: false },
    });
    expect(caught(() => environment.step("Clerk")).code).toBe("EPISODE_OVER");
    expect(caught(() => new BanditEnvironment().step("Clerk")).code).toBe("EPISODE_OVER");
    expect(caught(() => environment.reset({ level: "Clerk" })).message).toContain("line 1, column 1");
  });

  it("goes on with the same draw after state() and restore()", () => {
    for (const seed of SEEDS.slice(0, 30)) {
      const [original, copy] = [new BanditEnvironment(), new BanditEnvironment()];
      original.reset({ seed });
      copy.restore(JSON.parse(JSON.stringify(original.state())));
      expect(playAll(copy, ["Prospector", "Clerk"])).toEqual(playAll(original, ["Prospector", "Clerk"]));
      expect(copy.state()).toEqual(original.state());
    }
    const other = new BanditEnvironment({ riskyArm: "Gambler" });
    other.reset({ seed: 1 });
    expect(caught(() => new BanditEnvironment().restore(other.state())).code).toBe("BAD_ARGUMENT");
  });
});

describe("countdown", () => {
  it.each([
    ["(2 + 3) * 4", [2, 3, 4], 20],
    ["2+3*4 = 14", [2, 3, 4], 14],
    ["8 - 4 - 2", [8, 4, 2], 2],
    ["8 ÷ 4 ÷ 2", [8, 4, 2], 1],
    ["((7))", [7], 7],
    ["6 / (1 − 3 / 4)", [6, 1, 3, 4], 24],
  ])("evaluates %s", (text, numbers, value) => {
    expect(evaluate(text)).toEqual({ numbers, value: { top: value, bottom: 1 } });
  });

  it.each(["", "2 +", "2 3", "(2", "2)", "* 2", "-2", "2.5", "two", "2 ** 3", "((((", "()", "constructor"])(
    "takes %j for no expression",
    (text) => {
      expect(evaluate(text)).toBeNull();
    },
  );

  it("never fails on odd text, and divides by zero without a value", () => {
    expect(evaluate("4 / (2 - 2)")).toEqual({ numbers: [4, 2, 2], value: null });
    expect(evaluate("(".repeat(10_000))).toBeNull();
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("1", "20", "+", "-", "*", "/", "(", ")", " ", "=") }),
        (text) => {
          const evaluated = evaluate(text);
          if (evaluated !== null && evaluated.value !== null && !text.includes("=")) {
            const { top, bottom } = evaluated.value;
            expect(top / bottom).toBeCloseTo(Function(`return ${text.replace(/(?<!\d)0+(?=\d)/g, "")}`)(), 6);
          }
        },
      ),
    );
  });

  it("draws puzzles that have a solution", () => {
    for (const numbers of [2, 3, 4]) {
      const environment = new CountdownEnvironment({ numbers });
      for (const seed of SEEDS.slice(0, 40)) {
        const level = environment.reset({ seed });
        expect(level).toMatch(/^\d+( \d+)+ = \d+$/);
        expect(new CountdownEnvironment().reset({ level })).toBe(level);
      }
    }
    const fractions = [2, 3, 4].map((top) => ({ top, bottom: 1 }));
    expect([isReachable(fractions, 20), isReachable(fractions, 21)]).toEqual([true, false]);
  });

  it.each([
    ["(2 + 3) * 4", 1, true, true],
    ["2 + 3 + 4", 0.1, true, false],
    ["4 * 5", 0, false, false],
    ["2 * 2 * 3 + 4 + 4", 0, false, false],
    ["I do not know", 0, false, false],
  ])("rewards %j by %d and ends", (answer, reward, valid, success) => {
    const environment = new CountdownEnvironment();
    environment.reset({ level: "2 3 4 = 20" });
    expect(environment.render("structured")).toBe("2 3 4 = 20\nNumbers: 2, 3 and 4; target: 20.");
    expect(environment.step(answer)).toMatchObject({
      reward,
      terminated: true,
      truncated: false,
      info: { valid, effective: valid, success },
    });
    expect(caught(() => environment.step(answer)).code).toBe("EPISODE_OVER");
    const copy = new CountdownEnvironment();
    copy.restore(JSON.parse(JSON.stringify(environment.state())));
    expect(copy.render("grid")).toBe(environment.render("grid"));
    expect(caught(() => copy.step(answer)).code).toBe("EPISODE_OVER");
  });

  it("takes targets as large as numbers are exact", () => {
    const level = "1000 999 998 997 996 = 990034950024000";
    const environment = new CountdownEnvironment();
    expect(environment.reset({ level })).toBe(level);
    expect(environment.step("1000 * 999 * 998 * 997 * 996").info.success).toBe(true);
  });

  it.each([
    ["2 3 4", "line 1, column 1"],
    ["2 = 2", "line 1, column 1"],
    ["2 3 = x", "line 1, column 1"],
    ["1 2 3 4 5 6 = 7", "line 1, column 1"],
    ["2 3 = 6\n1", "line 2, column 1"],
    ["2 3 4 = 21", "line 1, column 7"],
    ["1000 1000 = 9007199254740992", "line 1, column 13"],
    ["1000 1000 = 90071992547409920", "line 1, column 1"],
  ])("refuses the level %j", (level, place) => {
    const error = caught(() => new CountdownEnvironment().reset({ level }));
    expect(error).toMatchObject({ code: "BAD_LEVEL" });
    expect(error.message).toContain(`${place}: `);
  });
});
