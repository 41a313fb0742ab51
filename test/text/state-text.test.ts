import { describe, expect, it } from "vitest";
import { coordinatesOf, writeState } from "../../lib/text/state-text.ts";

const state = { grid: "P_\n_G", structured: "P_\n_G\nPlayer (P) at (0,0); goal (G) at (1,1)." };

describe("a state's text", () => {
  it("is what was rendered, or what stands under the grid", () => {
    expect(writeState(state, "grid")).toBe(state.grid);
    expect(writeState(state, "structured")).toBe(state.structured);
    expect(writeState(state, "coordinates")).toBe("Player (P) at (0,0); goal (G) at (1,1).");
  });

  it("has no coordinates where nothing stands under the grid, or another grid does", () => {
    for (const structured of [state.grid, "P G", `${state.grid}G at (1,1)`]) {
      expect(coordinatesOf({ grid: state.grid, structured })).toBe("");
      expect(() => writeState({ grid: state.grid, structured }, "coordinates")).toThrow(
        /renders no coordinates under a state's grid/,
      );
    }
  });
});
