/** What one `step` reports beside the observation. */
export interface StepInfo {
  /** The action is one that this environment knows and the rules allow to be tried. */
  valid: boolean;
  /** The action changed the state. */
  effective: boolean;
  /** The task is solved in the state after the action. */
  success: boolean;
}

/** The outcome of one action, with Gymnasium's meanings of `terminated` and `truncated`. */
export interface StepResult {
  observation: string;
  reward: number;
  /** The episode reached an end of the task itself (solved, fell into a hole). */
  terminated: boolean;
  /** The episode was cut by a limit that is not part of the task (maximum number of steps). */
  truncated: boolean;
  info: StepInfo;
}

/** `grid`: the state's grid alone; `structured`: the grid and, on a line under it, the coordinates of what matters. */
export type RenderMode = "grid" | "structured";

/** At least one of the two: a level is drawn from `seed`, or given as `level` (what `render("grid")` prints at the start). */
export interface ResetOptions {
  seed?: number;
  level?: string;
}

/** A JSON value; what `state()` returns must survive a round trip through a file. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/**
 * A text game that an agent plays turn by turn.
 *
 * `reset` and `step` may return promises (remote environments); nothing else but `close` may. One object plays one episode at
 * a time, and objects share no state: many are played at once. Whatever is returned or thrown against this contract becomes a
 * SpaError BAD_ENVIRONMENT (`guard.ts`); docs/environments.md explains each method.
 */
export interface Environment {
  /** The registered name, e.g. `"frozen-lake"`. */
  readonly name: string;
  /** The action names that a prompt may list; empty when actions are free text (Sudoku's `row,col,value`). */
  readonly actions: readonly string[];
  /** The task in words: goal, meaning of the symbols, form of an action. For prompts. */
  instructions(): string;
  /** Begins an episode. A seed that no level comes of: throw SpaError BAD_ARGUMENT, and level streams go on with the next. */
  reset(options: ResetOptions): string | Promise<string>;
  /** Never fails on odd action text (`valid` is false then); fails when the episode is over or was never started. */
  step(action: string): StepResult | Promise<StepResult>;
  render(mode: RenderMode): string;
  /** Everything that `restore` needs to go on at the same point, slips included. */
  state(): Json;
  restore(state: Json): void;
  /** Optional: the canonical spelling of what an agent wrote, or null if it names no action (default: look-up in `actions`, exact or else without regard to case). */
  parseAction?(text: string): string | null;
  /** Optional: the length of a shortest solution of the current state in actions, null if none was found (there is none, or the search gave up). For reports. */
  shortestSolution?(): number | null;
  /**
   * Optional: an action of a policy that solves the current state with the greatest probability in at most so many actions, each
   * chosen with the state before it in view (null: any number); null where none can. For `evaluation.references`.
   */
  bestAction?(actionsLeft: number | null): string | null;
  /** Optional: lets go of connections, timers and files; called once, when the object is no longer needed. */
  close?(): void | Promise<void>;
}

/** Makes an environment from its options (already merged with defaults by the factory itself). */
export type EnvironmentFactory = (options: Record<string, unknown>) => Environment;
