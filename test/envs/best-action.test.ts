import { describe, expect, it, test } from "vitest";
import { createEnvironment, FrozenLakeEnvironment } from "../../envs/index.ts";
import { SpaError } from "../../lib/errors.ts";
import { fixture } from "./fixtures.ts";

describe.each([
  ["frozen-lake", { size: 4, slippery: false }],
  ["sokoban", { rows: 6, columns: 6, boxes: 1 }],
  ["sudoku", { size: 4, blanks: 5 }],
])("best actions of %s", (name, options) => {
  it("solve a level in as few actions as there are", async () => {
    for (let seed = 0; seed < 25; seed++) {
      const environment = createEnvironment(name, options);
      await environment.reset({ seed });
      const shortest = environment.shortestSolution?.() ?? 0;
      expect(shortest).toBeGreaterThan(0);
      expect(environment.bestAction?.(shortest - 1)).toBeNull();
      for (let left = shortest; left > 0; left--) {
        const action = environment.bestAction?.(left === 1 ? null : left) ?? "none";
        expect(await environment.step(action)).toMatchObject({ info: { valid: true, success: left === 1 } });
      }
    }
  });
});

interface LakeMap {
  size: number;
  desc: string[];
  /** By cell and action what upstream's transitions lead to, each with probability 1/3. */
  slippery_next: number[][][];
}

test("on slippery ice they are those of the greatest probability, by upstream's transitions", () => {
  const maps = fixture<{ maps: LakeMap[] }>("frozen-lake.json")
    .maps.filter(({ size }) => size === 4)
    .slice(0, 6);
  expect(maps).toHaveLength(6);
  for (const { size, desc, slippery_next: next } of maps) {
    const cells = desc.join("");
    const known = new Map<string, number>();
    const chanceAfter = (cell: number, action: number, left: number): number =>
      next[cell][action].reduce((sum, to) => sum + chance(to, left - 1) / 3, 0);
    const chance = (cell: number, left: number): number => {
      if (cells[cell] === "G") return 1;
      if (cells[cell] === "H" || left === 0) return 0;
      const key = `${cell} ${left}`;
      const value =
        known.get(key) ?? Math.max(...[0, 1, 2, 3].map((action) => chanceAfter(cell, action, left)));
      known.set(key, value);
      return value;
    };
    for (const [cell, kind] of [...cells].entries()) {
      if (kind === "H" || kind === "G") continue;
      const rows = desc.map((row) => row.replaceAll("H", "O").replaceAll(/[FS]/g, "_"));
      const row = Math.floor(cell / size);
      rows[row] = `${rows[row].slice(0, cell % size)}P${rows[row].slice((cell % size) + 1)}`;
      const environment = new FrozenLakeEnvironment({ slippery: true });
      try {
        environment.reset({ level: rows.join("\n") });
      } catch (error) {
        expect(error).toBeInstanceOf(SpaError);
        continue; // The goal is out of reach from this cell.
      }
      for (const left of [1, 2, 5, 10, 60]) {
        const action = environment.bestAction(left);
        const best = chance(cell, left);
        if (best === 0) expect(action).toBeNull();
        else
          expect(
            chanceAfter(cell, (environment.actions as readonly string[]).indexOf(action ?? ""), left),
          ).toBeCloseTo(best, 12);
      }
      expect(environment.bestAction(0)).toBeNull();
    }
  }
});
