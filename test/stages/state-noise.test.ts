import { describe, expect, it } from "vitest";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";
import { StateNoise } from "../../lib/stages/sft/state-noise.ts";
import { stateForms } from "../../lib/text/state-text.ts";

const grid = "P__O\n____\n_G__";
const state = { grid, structured: `${grid}\nPlayer (P) at (0,0); hole (O) at (0,3); goal (G) at (2,1).` };
const noise = new StateNoise([state]);
const cellsOf = (text: string) => [...text.split("\n").slice(0, 3).join("")];

describe("StateNoise", () => {
  it("changes nothing without noise", () => {
    const options = { probability: 0, relocate: false };
    expect(noise.describe(state, "structured", new SeededGenerator(1), options)).toBe(state.structured);
    expect(noise.describe(state, "grid", new SeededGenerator(1), options)).toBe(grid);
  });

  it("learns from any number of coordinates", () => {
    const large = { grid, structured: `${grid}\n${"(3,1) (7,9) ".repeat(100_000)}` };
    const drawn = new StateNoise([large]).randomCoordinates("(0,0)".repeat(500), new SeededGenerator(1), 1);
    const places = new Set(drawn.match(/\d+,\d+/g));
    expect(places.size).toBe(5 * 9);
    expect([places.has("3,1"), places.has("7,9"), places.has("2,1"), places.has("8,1")]).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it("moves the player to a random cell, and its coordinates with it", () => {
    const places = new Set<string>();
    for (let seed = 0; seed < 200; seed++) {
      const text = noise.describe(state, "structured", new SeededGenerator(seed), {
        probability: 0,
        relocate: true,
      });
      const rows = text.split("\n");
      const row = rows.findIndex((line) => line.includes("P"));
      const place = `(${row},${rows[row].indexOf("P")})`;
      expect(text).toContain(`Player (P) at ${place}`);
      expect(cellsOf(text).sort()).toEqual(cellsOf(grid).sort());
      places.add(place);
    }
    expect(places.size).toBe(12);
  });

  it("writes at most three wrong cells, of known symbols, and leaves rows as they are", () => {
    for (let seed = 0; seed < 100; seed++) {
      const text = noise.describe(state, "grid", new SeededGenerator(seed), {
        probability: 1,
        relocate: false,
      });
      const [before, after] = [cellsOf(grid), cellsOf(text)];
      expect(text.split("\n").map(({ length }) => length)).toEqual([4, 4, 4]);
      expect(after.filter((cell, index) => cell !== before[index]).length).toBeLessThanOrEqual(3);
      for (const cell of after) expect("PGO_").toContain(cell);
    }
  });

  it("draws coordinates from the range that it has seen", () => {
    const generator = new SeededGenerator("coordinates");
    for (let draw = 0; draw < 100; draw++) {
      const text = noise.randomCoordinates("at (9,9)", generator, 1);
      expect(text).toMatch(/^at \([0-2],[0-3]\)$/);
    }
    expect(noise.randomCoordinates("at (9,9)", generator, 0)).toBe("at (9,9)");
  });

  it("gives the coordinates alone, or nothing where there are none", () => {
    expect(noise.coordinates(state, new SeededGenerator(1), 0)).toBe(state.structured.slice(grid.length + 1));
    const bare = { grid: "A..", structured: "A.." };
    expect(new StateNoise([bare]).coordinates(bare, new SeededGenerator(1), 1)).toBe("");
  });

  it("describes the same wrong state in every form", () => {
    for (let seed = 0; seed < 100; seed++) {
      const [grid, structured, coordinates] = stateForms.map((form) =>
        noise.describe(state, form, new SeededGenerator(seed), { probability: 0.5, relocate: true }),
      );
      expect(structured).toBe(`${grid}\n${coordinates}`);
    }
  });

  it("works on states without a mover or cells", () => {
    const sudoku = { grid: "1 . | 2", structured: "1 . | 2\nEmpty cells: (1,2)." };
    const own = new StateNoise([sudoku]);
    for (let seed = 0; seed < 50; seed++) {
      const text = own.describe(sudoku, "structured", new SeededGenerator(seed), {
        probability: 0.5,
        relocate: true,
      });
      expect(text).toMatch(/^[12.] [12.] \| [12.]\nEmpty cells: \(1,2\)\.$/);
    }
    const empty = { grid: "", structured: "" };
    const options = { probability: 1, relocate: true };
    expect(new StateNoise([empty]).describe(empty, "grid", new SeededGenerator(1), options)).toBe("");
  });
});
