/** The environments: text games with one interface, made by name. Importing this module registers those below. */

import { BanditEnvironment, type BanditOptions } from "./bandit/environment.ts";
import { CountdownEnvironment, type CountdownOptions } from "./countdown/environment.ts";
import type { Environment } from "./environment.ts";
import { FrozenLakeEnvironment, type FrozenLakeOptions } from "./frozen-lake/environment.ts";
import { createRegistered, registerEnvironment } from "./registry.ts";
import { SokobanEnvironment, type SokobanOptions } from "./sokoban/environment.ts";
import { SudokuEnvironment, type SudokuOptions } from "./sudoku/environment.ts";

export { BanditEnvironment, type BanditOptions } from "./bandit/environment.ts";
export { CountdownEnvironment, type CountdownOptions } from "./countdown/environment.ts";
export type * from "./environment.ts";
export { FrozenLakeEnvironment, type FrozenLakeOptions, solveFrozenLake } from "./frozen-lake/environment.ts";
export {
  environmentDescription,
  environmentNames,
  loadEnvironmentModule,
  registerEnvironment,
} from "./registry.ts";
export { SokobanEnvironment, type SokobanOptions, solveSokoban } from "./sokoban/environment.ts";
export type { Solution } from "./solution.ts";
export { SudokuEnvironment, type SudokuOptions } from "./sudoku/environment.ts";

/** What `Environment` has, as `Game` has it: what is left of a game behind its guard. */
type Guarded<Game extends Environment> = Pick<Game, keyof Game & keyof Environment> &
  Pick<Environment, "close">;

/** The environments that come with the package: their options and what `createEnvironment` returns for them. */
export interface BuiltInEnvironments {
  sokoban: { options: SokobanOptions; environment: Guarded<SokobanEnvironment> };
  "frozen-lake": { options: FrozenLakeOptions; environment: Guarded<FrozenLakeEnvironment> };
  sudoku: { options: SudokuOptions; environment: Guarded<SudokuEnvironment> };
  bandit: { options: BanditOptions; environment: Guarded<BanditEnvironment> };
  countdown: { options: CountdownOptions; environment: Guarded<CountdownEnvironment> };
}

registerEnvironment("sokoban", (options) => new SokobanEnvironment(options), {
  description: "push the boxes onto the targets",
});
registerEnvironment("frozen-lake", (options) => new FrozenLakeEnvironment(options), {
  description: "walk over a frozen lake to the goal",
});
registerEnvironment("sudoku", (options) => new SudokuEnvironment(options), {
  description: "fill the empty cells of a Sudoku, one digit an action",
});
registerEnvironment("bandit", (options) => new BanditEnvironment(options), {
  description: "choose one of two arms by what their names hint at (one turn)",
});
registerEnvironment("countdown", (options) => new CountdownEnvironment(options), {
  description: "make a target number of given numbers (one turn)",
});

/**
 * Makes an environment from its registered name and its options; what is left out takes its default. Every answer of it is
 * checked.
 *
 * @throws SpaError UNKNOWN_NAME for a name or option that does not exist (the hint has the nearest that does),
 *   BAD_ARGUMENT for an option's value, BAD_ENVIRONMENT for a registered environment that breaks the interface
 */
export function createEnvironment<Name extends keyof BuiltInEnvironments>(
  name: Name,
  options?: BuiltInEnvironments[Name]["options"],
): BuiltInEnvironments[Name]["environment"];
export function createEnvironment(name: string, options?: Record<string, unknown>): Environment;
export function createEnvironment(name: string, options: Record<string, unknown> = {}): Environment {
  return createRegistered(name, options);
}
