import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json } from "../../envs/environment.ts";
import { FrozenLakeEnvironment, solveFrozenLake } from "../../envs/frozen-lake/environment.ts";
import { generateMap } from "../../envs/frozen-lake/generate.ts";
import { caught } from "./errors.ts";
import {
  type FrozenLakeFixture,
  type FrozenLakeMapsFixture,
  type FrozenLakeStep,
  fixture,
} from "./fixtures.ts";
import { playAll } from "./play.ts";

const { actions, maps } = fixture<FrozenLakeFixture>("frozen-lake.json");
const mapsBySeed = fixture<FrozenLakeMapsFixture>("frozen-lake-maps.json");
const MAP_GROUPS = ["size4_p0.8", "size6_p0.8", "size8_p0.8", "size4_p0.8_bigseeds"] as const;
const DIRECTIONS = ["Left", "Down", "Right", "Up"];

/** The map as upstream writes it, the start as S. */
function upstreamRows(map: ReturnType<typeof generateMap>): string[] {
  const text = [...map.cells].map((cell, index) => (index === map.start ? "S" : "?FHG"[cell])).join("");
  return Array.from({ length: map.rows }, (_row, row) =>
    text.slice(row * map.columns, (row + 1) * map.columns),
  );
}

/** Plays recorded steps up to the end of the episode, then expects one more step to be refused. */
function replay(environment: FrozenLakeEnvironment, steps: FrozenLakeStep[]): void {
  for (const [action, grid, reward, done, success, effective] of steps) {
    const result = environment.step(actions[action]);
    expect(result).toEqual({
      observation: grid,
      reward,
      terminated: done,
      truncated: false,
      info: { valid: true, effective, success },
    });
    expect(environment.render("grid")).toBe(grid);
    if (done) {
      expect(caught(() => environment.step("Up")).code).toBe("EPISODE_OVER");
      return;
    }
  }
}

describe("maps by seed", () => {
  it.each(MAP_GROUPS)("%s are upstream's", (group) => {
    const size = Number(group[4]);
    for (const { seed, map } of mapsBySeed[group]) {
      expect(upstreamRows(generateMap(seed, size, 0.8)), `seed ${seed}`).toEqual(map);
    }
  });

  it("are upstream's for other hole probabilities", () => {
    for (const { seed, size, p, desc } of maps) {
      expect(upstreamRows(generateMap(seed, size, p)), `seed ${seed}, p ${p}`).toEqual(desc);
    }
  });

  it("exist up to 10x10 and for extreme probabilities", () => {
    const large = new FrozenLakeEnvironment({ size: 10 });
    expect(large.reset({ seed: 3 }).split("\n")).toHaveLength(10);
    const open = new FrozenLakeEnvironment({ frozenProbability: 1 });
    expect(open.reset({ seed: 3 })).not.toContain("O");
    const narrow = new FrozenLakeEnvironment({ size: 8, frozenProbability: 0.01 });
    expect(narrow.reset({ seed: 1 }).match(/O/g)?.length).toBeGreaterThan(55);
  });
});

describe("recorded episodes", () => {
  it.each(maps)("seed $seed, size $size, p $p", (map) => {
    const { seed, size, p: frozenProbability, initial, replay: recorded, slippery_replay } = map;
    const firm = new FrozenLakeEnvironment({ size, slippery: false, frozenProbability });
    expect(firm.reset({ seed })).toBe(initial);
    expect(firm.shortestSolution()).toBe(map.shortest);
    expect(solveFrozenLake(initial)).toMatchObject({ status: "solved", actions: { length: map.shortest } });
    replay(firm, recorded.steps);

    expect(firm.reset({ level: initial })).toBe(initial);
    replay(firm, recorded.steps);

    if (slippery_replay !== undefined) {
      const slippery = new FrozenLakeEnvironment({ size, frozenProbability });
      expect(slippery.reset({ seed })).toBe(initial);
      replay(slippery, slippery_replay.steps);
      expect(slippery.reset({ seed, level: initial })).toBe(initial);
      replay(slippery, slippery_replay.steps);
    }
  });

  it("moves from every cell to upstream's successors, slipping or not", () => {
    for (const { size, desc, slippery_next } of maps) {
      const cells = desc.join("");
      for (const [from, byAction] of slippery_next.entries()) {
        if (cells[from] === "H" || cells[from] === "G") {
          continue;
        }
        const text = desc.map((row) => row.replaceAll("H", "O").replaceAll(/[FS]/g, "_"));
        const row = Math.floor(from / size);
        text[row] = `${text[row].slice(0, from % size)}P${text[row].slice((from % size) + 1)}`;
        const level = text.join("\n");
        for (const [direction, successors] of byAction.entries()) {
          const firm = new FrozenLakeEnvironment({ slippery: false });
          try {
            firm.reset({ level });
          } catch {
            continue; // The goal is out of reach from this cell.
          }
          firm.step(DIRECTIONS[direction]);
          expect((firm.state() as { position: number }).position).toBe(successors[1]);
          const slippery = new FrozenLakeEnvironment();
          for (let seed = 0; seed < 4; seed++) {
            slippery.reset({ level, seed });
            slippery.step(DIRECTIONS[direction]);
            expect(successors).toContain((slippery.state() as { position: number }).position);
          }
        }
      }
    }
  });
});

describe("texts", () => {
  it("describes player, holes and goal, zero-based", () => {
    const environment = new FrozenLakeEnvironment({ slippery: false });
    environment.reset({ level: "_O__\nO___\nG___\n__P_" });
    expect(environment.render("structured")).toBe(
      "_O__\nO___\nG___\n__P_\nPlayer (P) at (3,2); holes (O) at (0,1) and (1,0); goal (G) at (2,0).",
    );
    environment.reset({ level: "OOO_\nPG__" });
    expect(environment.render("structured")).toContain("holes (O) at (0,0), (0,1) and (0,2);");
    environment.step("Up");
    expect(environment.render("structured")).toBe(
      "XOO_\n_G__\nPlayer (P) at (0,0); holes (O) at (0,0), (0,1) and (0,2); goal (G) at (1,1).",
    );
    environment.reset({ level: "PG" });
    expect(environment.render("structured")).toBe("PG\nPlayer (P) at (0,0); goal (G) at (0,1).");
    environment.step("Right");
    expect(environment.render("structured")).toBe("_√\nPlayer (P) at (0,1); goal (G) at (0,1).");
    environment.reset({ level: "PO\n_G" });
    expect(environment.render("structured")).toContain("; hole (O) at (0,1); ");
  });

  it("prints and reads other symbols", () => {
    const symbols = { P: "A", _: ".", O: "#", G: "*", X: "!", "√": "☺" };
    const environment = new FrozenLakeEnvironment({ slippery: false, symbols });
    expect(environment.reset({ level: "A#\n.*" })).toBe("A#\n.*");
    expect(environment.render("structured")).toContain(
      "Player (A) at (0,0); hole (#) at (0,1); goal (*) at (1,1).",
    );
    expect(environment.instructions()).toContain("A you, . frozen, # hole, * goal");
    environment.step("Down");
    expect(environment.step("Right").observation).toBe(".#\n.☺");
    expect(solveFrozenLake("A#\n.*", { symbols })).toEqual({ status: "solved", actions: ["Down", "Right"] });
  });

  it("accepts any line ends, rectangles, and any case and padding of actions", () => {
    const environment = new FrozenLakeEnvironment({ slippery: false });
    expect(environment.reset({ level: "P__\r\n__G\r\n" })).toBe("P__\n__G");
    expect(environment.step(" rIGHT\n").info).toEqual({ valid: true, effective: true, success: false });
  });
});

describe("episodes", () => {
  it("ignore unknown actions: no time passes and no slip is drawn", () => {
    const environment = new FrozenLakeEnvironment({ maxSteps: 3 });
    environment.reset({ seed: 5 });
    const before = environment.state();
    for (const odd of ["", "Jump", "Up Up", "1", "constructor", "__proto__", "\u0000"]) {
      const result = environment.step(odd);
      expect(result).toMatchObject({ reward: 0, terminated: false, truncated: false });
      expect(result.info).toEqual({ valid: false, effective: false, success: false });
    }
    expect(environment.state()).toEqual(before);
  });

  it("are truncated at maxSteps", () => {
    const environment = new FrozenLakeEnvironment({ slippery: false, maxSteps: 2 });
    environment.reset({ level: "P_G" });
    expect(environment.step("Left")).toMatchObject({ terminated: false, truncated: false });
    expect(environment.step("Left")).toMatchObject({ terminated: false, truncated: true });
    expect(caught(() => environment.step("Left")).code).toBe("EPISODE_OVER");
    environment.reset({ level: "P_G" });
    environment.step("Right");
    expect(environment.step("Right")).toMatchObject({ terminated: true, truncated: false, reward: 1 });
  });

  it("must be started first", () => {
    const environment = new FrozenLakeEnvironment();
    expect(caught(() => environment.step("Up")).code).toBe("EPISODE_OVER");
    expect(caught(() => environment.render("grid")).code).toBe("EPISODE_OVER");
    expect(caught(() => environment.state()).code).toBe("EPISODE_OVER");
    expect(caught(() => environment.reset({})).code).toBe("BAD_ARGUMENT");
    expect(caught(() => environment.reset({ seed: -1 })).code).toBe("BAD_ARGUMENT");
    expect(caught(() => environment.reset({ seed: 1.5 })).code).toBe("BAD_ARGUMENT");
  });

  it("go on to the same numbers after state() and restore()", () => {
    const moves = fc.array(fc.constantFrom(...DIRECTIONS, "Nowhere"), { maxLength: 30 });
    fc.assert(
      fc.property(fc.nat(), fc.boolean(), moves, moves, (seed, slippery, before, after) => {
        const original = new FrozenLakeEnvironment({ slippery, maxSteps: 40 });
        original.reset({ seed });
        playAll(original, before);
        const copy = new FrozenLakeEnvironment({ slippery, maxSteps: 40 });
        copy.restore(JSON.parse(JSON.stringify(original.state())));
        expect(copy.render("structured")).toBe(original.render("structured"));
        expect(playAll(copy, after)).toEqual(playAll(original, after));
        expect(copy.state()).toEqual(original.state());
      }),
    );
  });

  it("refuse foreign states and keep their own", () => {
    const environment = new FrozenLakeEnvironment({ slippery: false });
    environment.reset({ level: "P_G" });
    const state = environment.state() as Record<string, Json>;
    for (const foreign of [
      null,
      {},
      "x",
      { ...state, environment: "sokoban" },
      { ...state, position: 99 },
      { ...state, extra: 1 },
      { ...state, generator: { state: "1", increment: "1", buffered: null } },
    ]) {
      expect(caught(() => environment.restore(foreign as Json)).code).toBe("BAD_ARGUMENT");
    }
    expect(environment.render("grid")).toBe("P_G");
  });
});

describe("levels given as text", () => {
  it("come back from render and give the same level as their seed", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 2, max: 10 }), (seed, size) => {
        const environment = new FrozenLakeEnvironment({ size });
        const level = environment.reset({ seed });
        const again = new FrozenLakeEnvironment();
        expect(again.reset({ level, seed })).toBe(level);
        expect(again.state()).toEqual(environment.state());
      }),
    );
  });

  it.each([
    ["", "line 1, column 1"],
    ["P_\n_G_", "line 2, column 3"],
    ["P__\n_G", "line 2, column 3"],
    ["P_\n?G", "line 2, column 1"],
    ["P_S\n__G", "line 1, column 3"],
    ["__\n_G", "line 1, column 1 to line 2, column 2"],
    ["PP\n_G", "line 1, column 2"],
    ["P_\n__", "line 1, column 1 to line 2, column 2"],
    ["PG\n_G", "line 2, column 2"],
    ["_√", "line 1, column 2"],
    ["XG", "line 1, column 1"],
    ["PO\nOG", "line 1, column 1"],
    [`P${"_".repeat(16)}G`, "line 1, column 1 to line 1, column 18"],
  ])("are refused when malformed: %j", (level, place) => {
    const environment = new FrozenLakeEnvironment({ slippery: false });
    environment.reset({ level: "P_G" });
    const error = caught(() => environment.reset({ level }));
    expect(error.code).toBe("BAD_LEVEL");
    expect(error.message).toContain(`frozen-lake level, ${place}: `);
    expect(error.hint).toBeTruthy();
    expect(environment.step("Right").observation).toBe("_PG");
  });

  it("never fail in another way than BAD_LEVEL", () => {
    const texts = fc.oneof(
      fc.string(),
      fc.string({ unit: fc.constantFrom("P", "_", "O", "G", "X", "√", "\n") }),
    );
    fc.assert(
      fc.property(texts, (level) => {
        const environment = new FrozenLakeEnvironment();
        try {
          const grid = environment.reset({ level });
          expect(environment.reset({ level: grid })).toBe(grid);
        } catch (error) {
          expect(error).toMatchObject({ code: "BAD_LEVEL" });
        }
      }),
    );
  });
});
