import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json } from "../../envs/environment.ts";
import { SokobanEnvironment, solveSokoban } from "../../envs/sokoban/environment.ts";
import { caught } from "./errors.ts";
import { fixture, type SokobanFixture } from "./fixtures.ts";
import { playAll } from "./play.ts";

const { actions, rooms } = fixture<SokobanFixture>("sokoban.json");
const DIRECTIONS = ["Up", "Down", "Left", "Right"];

type Room = SokobanFixture["rooms"][number];

function environmentFor(room: Room): SokobanEnvironment {
  const [rows, columns] = room.dim;
  const { num_boxes: boxes, max_steps: maxSteps, search_depth: searchDepth } = room;
  return new SokobanEnvironment({ rows, columns, boxes, maxSteps, searchDepth });
}

/** Plays recorded steps up to the end of the episode, then expects one more step to be refused. */
function replay(environment: SokobanEnvironment, steps: Room["steps"], maxSteps: number): void {
  for (const [index, [action, grid, reward, done, success, effective]] of steps.entries()) {
    const result = environment.step(actions[action]);
    expect(result).toEqual({
      observation: grid,
      reward,
      terminated: success,
      truncated: done && !success,
      info: { valid: true, effective, success },
    });
    expect(environment.render("grid")).toBe(grid);
    if (done) {
      expect(success || index + 1 === maxSteps).toBe(true);
      expect(caught(() => environment.step("Up")).code).toBe("EPISODE_OVER");
      return;
    }
  }
}

describe("recorded rooms", () => {
  it.each(rooms.filter((room) => room.fallback_error === false))("$group, seed $seed: same room", (room) => {
    const environment = environmentFor(room);
    expect(environment.reset({ seed: room.seed })).toBe(room.initial);
    replay(environment, room.steps, room.max_steps);
  });

  it.each(rooms)("$group, seed $seed: same episode from the level's text", (room) => {
    const environment = environmentFor(room);
    expect(environment.reset({ level: room.initial })).toBe(room.initial);
    expect(environment.shortestSolution()).toBe(room.shortest);
    replay(environment, room.steps, room.max_steps);
  });

  it.each(rooms.slice(0, 40))("$group, seed $seed: the solver's actions solve it", (room) => {
    const solution = solveSokoban(room.initial);
    expect(solution).toMatchObject({ status: "solved", actions: { length: room.shortest } });
    const environment = environmentFor(room);
    environment.reset({ level: room.initial });
    const plan = solution.status === "solved" ? solution.actions : [];
    const results = plan.map((action) => environment.step(action));
    expect(results.map((result) => result.terminated)).toEqual(
      plan.map((_, index) => index === plan.length - 1),
    );
    expect(environment.shortestSolution()).toBe(0);
  });

  it("are made of a next seed where upstream's depends on the process", () => {
    for (const room of rooms.filter(({ fallback_error }) => fallback_error !== false)) {
      const environment = environmentFor(room);
      const level = environment.reset({ seed: room.seed });
      expect(level).not.toBe(room.initial);
      expect(environmentFor(room).reset({ seed: room.seed })).toBe(level);
      expect(environment.shortestSolution()).toBeGreaterThan(0);
    }
  });

  it("are solvable in every size", () => {
    for (const [rows, columns, boxes] of [
      [4, 6, 1],
      [5, 5, 1],
      [5, 7, 1],
      [8, 6, 2],
      [10, 10, 3],
    ]) {
      const environment = new SokobanEnvironment({ rows, columns, boxes, searchDepth: 30 });
      for (let seed = 0; seed < 5; seed++) {
        const lines = environment.reset({ seed }).split("\n");
        expect(lines.map((line) => [...line].length)).toEqual(new Array(rows).fill(columns));
        expect(environment.shortestSolution()).toBeGreaterThan(0);
      }
    }
    expect(
      caught(() => new SokobanEnvironment({ rows: 4, columns: 4, boxes: 4 }).reset({ seed: 1 })).message,
    ).toContain("4 x 4 with 4 boxes");
  });
});

describe("texts", () => {
  it("describe player, boxes and goals, zero-based", () => {
    const environment = new SokobanEnvironment();
    environment.reset({ level: "######\n#___O#\n#__X_#\n#__P_#\n#____#\n######" });
    expect(environment.render("structured")).toBe(
      "######\n#___O#\n#__X_#\n#__P_#\n#____#\n######\nPlayer (P) at (3,3); box (X) at (2,3); goal (O) at (1,4).",
    );
    environment.reset({ level: "SX__\n_X√_\n__O_" });
    expect(environment.render("structured")).toBe(
      "SX__\n_X√_\n__O_\nPlayer (P) at (0,0); boxes (X) at (0,1), (1,1) and (1,2); goals (O) at (0,0), (1,2) and (2,2).",
    );
    environment.reset({ level: "PX_O\n_XO_\n____" });
    expect(environment.render("structured")).toContain(
      "; boxes (X) at (0,1) and (1,1); goals (O) at (0,3) and (1,2).",
    );
  });

  it("print and read other symbols", () => {
    const symbols = { "#": "W", _: ".", O: "🎯", "√": "+", X: "📦", P: "@", S: "$" };
    const environment = new SokobanEnvironment({ symbols });
    expect(environment.reset({ level: "WWWWWW\nW@📦.🎯W\nWWWWWW" })).toBe("WWWWWW\nW@📦.🎯W\nWWWWWW");
    expect(environment.instructions()).toContain("W wall, . floor, 🎯 target, 📦 box, + box on a target");
    environment.step("Right");
    expect(environment.step("Right").observation).toBe("WWWWWW\nW..@+W\nWWWWWW");
    expect(environment.render("structured")).toContain(
      "Player (@) at (1,3); box (📦) at (1,4); goal (🎯) at (1,4).",
    );
  });
});

describe("episodes", () => {
  it("pay for boxes going on and off their targets, from the count at the start", () => {
    const environment = new SokobanEnvironment();
    environment.reset({ level: "______\nP√_XO_\n______" });
    expect(environment.step("Right").reward).toBe(-0.1 - 1);
    expect(environment.step("Left").reward).toBe(-0.1);
    environment.reset({ level: "P√___\n_XO__" });
    expect(environment.step("Down").reward).toBe(-0.1);
    expect(environment.step("Right")).toMatchObject({ terminated: true, truncated: false });
    environment.reset({ level: "P√___\n_XO__" });
    environment.step("Down");
    expect(caught(() => environment.reset({ level: "P√" })).code).toBe("BAD_LEVEL");
    expect(environment.step("Right").reward).toBe(-0.1 + 1 + 10);
  });

  it("hold the player at the edge of a room without walls", () => {
    const environment = new SokobanEnvironment();
    environment.reset({ level: "PXO" });
    for (const action of ["Up", "Down", "Left"]) {
      expect(environment.step(action).info).toEqual({ valid: true, effective: false, success: false });
    }
    expect(environment.step("Right").info.success).toBe(true);
  });

  it("ignore unknown actions: no time passes and nothing is paid", () => {
    const environment = new SokobanEnvironment();
    environment.reset({ seed: 1 });
    const before = environment.state();
    for (const odd of ["", "Push", "Up Down", "1", "toString"]) {
      expect(environment.step(odd)).toEqual({
        observation: environment.render("grid"),
        reward: 0,
        terminated: false,
        truncated: false,
        info: { valid: false, effective: false, success: false },
      });
    }
    expect(environment.state()).toEqual(before);
    expect(environment.step(" up ").info.valid).toBe(true);
  });

  it("are truncated at maxSteps and stay so", () => {
    const environment = new SokobanEnvironment({ maxSteps: 3 });
    environment.reset({ level: "PXO" });
    const flags = ["Up", "Up", "Up"].map((action) => environment.step(action).truncated);
    expect(flags).toEqual([false, false, true]);
    expect(caught(() => environment.step("Up")).code).toBe("EPISODE_OVER");
    environment.restore(environment.state());
    expect(caught(() => environment.step("Up")).code).toBe("EPISODE_OVER");
  });

  it("must be started first", () => {
    const environment = new SokobanEnvironment();
    expect(caught(() => environment.step("Up")).code).toBe("EPISODE_OVER");
    expect(caught(() => environment.render("structured")).code).toBe("EPISODE_OVER");
    expect(caught(() => environment.shortestSolution()).code).toBe("EPISODE_OVER");
    expect(caught(() => environment.reset({})).code).toBe("BAD_ARGUMENT");
    expect(caught(() => environment.reset({ seed: 2 ** 32 })).code).toBe("BAD_ARGUMENT");
  });

  it("go on to the same numbers after state() and restore(), and keep the text in step with the board", () => {
    const moves = fc.array(fc.constantFrom(...DIRECTIONS), { maxLength: 40 });
    fc.assert(
      fc.property(
        fc.nat({ max: 300 }),
        fc.integer({ min: 1, max: 2 }),
        moves,
        moves,
        (seed, boxes, before, after) => {
          const options = { boxes, searchDepth: 20, maxSteps: 60 };
          const original = new SokobanEnvironment(options);
          original.reset({ seed });
          playAll(original, before);
          const copy = new SokobanEnvironment(options);
          copy.restore(JSON.parse(JSON.stringify(original.state())));
          expect(copy.render("structured")).toBe(original.render("structured"));
          expect(playAll(copy, after)).toEqual(playAll(original, after));
          expect(copy.state()).toEqual(original.state());
          expect((copy.state() as { room: string }).room).toBe(copy.render("grid"));
        },
      ),
    );
  });

  it("refuse foreign states and keep their own", () => {
    const environment = new SokobanEnvironment();
    environment.reset({ level: "PXO" });
    const state = environment.state() as Record<string, Json>;
    for (const foreign of [
      null,
      [],
      { ...state, environment: "sudoku" },
      { ...state, room: "XO" },
      { ...state, steps: -1 },
    ]) {
      expect(caught(() => environment.restore(foreign as Json)).code).toBe("BAD_ARGUMENT");
    }
    expect(environment.render("grid")).toBe("PXO");
  });
});

describe("levels given as text", () => {
  it.each([
    ["", "line 1, column 1"],
    ["####\n#PX_O#\n####", "line 2, column 5"],
    ["######\n#PX_O#\n####", "line 3, column 5"],
    ["#####\n#PXQ#\n#####", "line 2, column 4"],
    ["#####\n#_XO#\n#####", "line 1, column 1 to line 3, column 5"],
    ["######\n#PXOP#\n######", "line 2, column 5"],
    ["######\n#PXOS#\n######", "line 2, column 5"],
    ["######\n#P__O#\n######", "line 1, column 1 to line 3, column 6"],
    ["######\n#PX_X#\n#O___#\n######", "line 2, column 5"],
    ["######\n#PX_O#\n#O___#\n######", "line 3, column 2"],
    ["#####\n#P√_#\n#####", "line 1, column 1 to line 3, column 5"],
    ["######\n#P_#_#\n#X_#O#\n######", "line 2, column 2"],
    ["#####\n#XPO#\n#####", "line 2, column 3"],
  ])("are refused when malformed or unsolvable: %j", (level, place) => {
    const environment = new SokobanEnvironment();
    environment.reset({ level: "PX_O" });
    const error = caught(() => environment.reset({ level }));
    expect(error.code).toBe("BAD_LEVEL");
    expect(error.message).toContain(`sokoban level, ${place}: `);
    expect(error.hint).toBeTruthy();
    expect(environment.step("Right").observation).toBe("_PXO");
  });

  it("are accepted where the search gives up, with an unknown distance", () => {
    const { initial } = rooms
      .filter((room) => room.num_boxes === 2)
      .reduce((a, b) => (b.shortest > a.shortest ? b : a));
    expect(solveSokoban(initial, { searchStates: 50 })).toEqual({ status: "gave-up", states: 50 });
    const hasty = new SokobanEnvironment({ searchStates: 50 });
    expect(hasty.reset({ level: initial })).toBe(initial);
    expect(hasty.shortestSolution()).toBeNull();
    expect(caught(() => hasty.reset({ level: "#####\n#XPO#\n#####" })).message).toContain("no solution");
    const unchecked = new SokobanEnvironment({ searchStates: 0 });
    expect(unchecked.reset({ level: "#####\n#XPO#\n#####" })).toContain("XPO");
    expect(unchecked.shortestSolution()).toBeNull();
  });

  it.each([
    // The first level of David W. Skinner's Microban, whose best solution has 33 moves.
    [
      "####\n# .#\n#  ###\n#*@  #\n#  $ #\n#  ###\n####",
      "######\n#_O###\n#__###\n#√P__#\n#__X_#\n#__###\n######",
      33,
    ],
    [
      "; comment\nTitle: one\n\n  ######\n  #+ $-#\n  #_   #\n  ######\n\nAuthor: A. N.\n",
      "######\n#S_X_#\n#____#\n######",
      7,
    ],
    ["  ####\n###  ###  \n#@ $  .#\n# -_ ###\n######", "########\n###__###\n#P_X__O#\n#____###\n########", 4],
    ["\ufeff--####\r\n###@ #\r\n#. $ #\r\n######\r\n", "######\n###P_#\n#O_X_#\n######", 4],
    [" @$ .", "PX_O", 2],
    ["######\n#P X O#\n#######", "#######\n#P_X_O#\n#######", 3],
  ])("are read in XSB, with what lies outside as walls: %j", (level, room, distance) => {
    const environment = new SokobanEnvironment();
    expect(environment.reset({ level })).toBe(room);
    expect(environment.shortestSolution()).toBe(distance);
    expect(environment.reset({ level: room })).toBe(room);
    expect(solveSokoban(level)).toMatchObject({ status: "solved", actions: { length: distance } });
  });

  it.each([
    ["; one\n ######\n #@$ ~#\n ######", "line 3, column 6", "unknown symbol"],
    ["######\n#@X O#\n######", "line 2, column 3", "unknown symbol"],
    ["######\n#@$ .#\n######\n\n######\n#@$ .#\n######", "line 4, column 1", "an empty line"],
    ["; one\n ######\n #@$@.#\n ######", "line 3, column 5", "a second player"],
    ["; one\n ######\n #@$  #\n ######", "line 3, column 4", "unequal numbers"],
    ["\n\n #######\n #@$ *.#\n #######", "line 4, column 3", "the room has no solution"],
    ["; a comment alone", "line 1, column 1", "there are only comments"],
    [`#@$.${"#".repeat(30)}`, "line 1, column 1 to line 1, column 34", "1 rows of 34 cells"],
  ])("are refused in XSB at their own lines and columns: %j", (level, place, problem) => {
    const error = caught(() => new SokobanEnvironment().reset({ level }));
    expect(error.code).toBe("BAD_LEVEL");
    expect(error.message).toContain(`sokoban level, ${place}: ${problem}`);
  });

  it("keep the meaning that symbols of the user's have", () => {
    const environment = new SokobanEnvironment({ symbols: { "#": "-", _: ".", O: "*", P: "@", X: "$" } });
    expect(environment.reset({ level: "------\n-@$.*-\n------" })).toBe("------\n-@$.*-\n------");
    expect(environment.reset({ level: "------\n-@$ *-\n------" })).toBe("------\n-@$.*-\n------");
    expect(environment.reset({ level: "######\n#@$ .#\n######" })).toBe("------\n-@$.*-\n------");
  });

  it("never fail in another way than BAD_LEVEL, and come back from render", () => {
    const texts = fc.string({
      unit: fc.constantFrom("P", "_", "_", "O", "X", "√", "S", "#", "\n"),
      maxLength: 30,
    });
    const xsb = fc.string({ unit: fc.constantFrom(..." -_.@+$$**##;:", "\n"), maxLength: 30 });
    fc.assert(
      fc.property(fc.oneof(texts, xsb), (level) => {
        const environment = new SokobanEnvironment();
        try {
          const grid = environment.reset({ level });
          expect(environment.reset({ level: grid })).toBe(grid);
        } catch (error) {
          expect(error).toMatchObject({ code: "BAD_LEVEL" });
        }
      }),
      { numRuns: 500 },
    );
  });
});
