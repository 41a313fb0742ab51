import type { BuiltInEnvironments } from "../../envs/index.ts";

const all: Record<keyof BuiltInEnvironments, true> = {
  bandit: true,
  countdown: true,
  "frozen-lake": true,
  sokoban: true,
  sudoku: true,
};

/** The names of the environments that come with the package, whatever tests register beside them. */
export const builtIn = Object.keys(all);
