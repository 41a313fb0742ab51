import { z } from "zod";
import { actionLookup } from "../actions.ts";
import type { Environment, Json, RenderMode, ResetOptions, StepResult } from "../environment.ts";
import { createVocabulary, MAX_SIDE, printGrid, readGrid, type Vocabulary } from "../grid-text.ts";
import { checkReset, foreignState, noEpisode, parseOptions, parseState } from "../options.ts";
import type { Solution } from "../solution.ts";
import {
  BOX,
  BOX_ON_TARGET,
  FLOOR,
  isPlayer,
  PLAYER,
  PLAYER_ON_TARGET,
  SOKOBAN_ACTIONS,
  SOKOBAN_SYMBOLS,
  SokobanBoard,
  STAYED,
  TARGET,
  WALL,
} from "./board.ts";
import { generateRoom } from "./generate.ts";
import { readSokobanLevel, unsolvableLevel } from "./level.ts";
import { describeSokoban, SokobanText } from "./render.ts";
import { DEFAULT_SEARCH_STATES, solveBoard } from "./solver.ts";

const NAME = "sokoban";

/** NumPy's legacy generator, which draws the rooms, takes no larger seed. */
const LARGEST_SEED = 0xffffffff;

const REWARD_STEP = -0.1;
const REWARD_BOX_ON_TARGET = 1;
const REWARD_SOLVED = 10;

const optionsSchema = z.strictObject({
  /** Rows of the rooms made from a seed, walls included; a level given as text has its own size. */
  rows: z.int().min(4).max(MAX_SIDE).default(6),
  columns: z.int().min(4).max(MAX_SIDE).default(6),
  /** Boxes, and targets, of a room made from a seed. */
  boxes: z.int().min(1).max(8).default(1),
  /** Steps after which an episode is truncated. */
  maxSteps: z.int().min(1).default(100),
  /** Moves that the search for a starting position goes back from the solved room; deeper is harder and slower. */
  searchDepth: z.int().min(2).max(1000).default(300),
  /** States that the solver may look at before it gives up; 0 accepts levels given as text unsolvable, too. */
  searchStates: z.int().min(0).default(DEFAULT_SEARCH_STATES),
  /** Symbols to print and read in place of the standard ones, e.g. `{ "#": "W" }`. */
  symbols: z.record(z.string(), z.string()).default({}),
});

/** Options of the environment; all have defaults. */
export type SokobanOptions = z.input<typeof optionsSchema>;

const stateSchema = z.strictObject({
  environment: z.literal(NAME),
  room: z.string(),
  steps: z.int().min(0),
  over: z.boolean(),
});

interface Episode {
  board: SokobanBoard;
  text: SokobanText;
  steps: number;
  over: boolean;
}

/**
 * Sokoban as RAGEN plays it (gym-sokoban's rules and rooms): push every box onto a target.
 *
 * Reward -0.1 for each step, +1 for a box that comes onto a target, -1 for one that leaves it, +10 when all are on.
 * The episode terminates when all are on and is truncated after `maxSteps`. An action of unknown name changes nothing
 * and takes no time step.
 */
export class SokobanEnvironment implements Environment {
  readonly name = NAME;
  readonly actions = SOKOBAN_ACTIONS;
  private readonly options: z.output<typeof optionsSchema>;
  private readonly vocabulary: Vocabulary;
  private readonly lookup = actionLookup(SOKOBAN_ACTIONS);
  private episode: Episode | null = null;

  /** @throws SpaError UNKNOWN_NAME or BAD_ARGUMENT for wrong options */
  constructor(options: SokobanOptions = {}) {
    this.options = parseOptions(NAME, optionsSchema, options);
    this.vocabulary = createVocabulary(NAME, SOKOBAN_SYMBOLS, this.options.symbols);
  }

  instructions(): string {
    const symbols = this.vocabulary.shown;
    return (
      "You are solving a Sokoban puzzle: push every box onto a target. You push a box by walking against it; " +
      "you cannot pull, and you cannot push two boxes at once or a box into a wall.\n" +
      `Symbols: ${symbols[WALL]} wall, ${symbols[FLOOR]} floor, ${symbols[TARGET]} target, ${symbols[BOX]} box, ` +
      `${symbols[BOX_ON_TARGET]} box on a target, ${symbols[PLAYER]} you, ${symbols[PLAYER_ON_TARGET]} you on a target.\n` +
      `An action is one of: ${this.actions.join(", ")}.`
    );
  }

  /**
   * @throws SpaError BAD_LEVEL for a level that is malformed, or that the solver finds unsolvable (not if it gives up);
   *   BAD_ARGUMENT for a bad seed, or one that no room comes of
   */
  reset(options: ResetOptions): string {
    const { seed, level } = checkReset(NAME, options, LARGEST_SEED);
    const board =
      level === undefined ? new SokobanBoard(generateRoom(seed ?? 0, this.options)) : this.levelBoard(level);
    this.episode = this.newEpisode(board);
    return this.episode.text.text;
  }

  private levelBoard(level: string): SokobanBoard {
    const { board, player } = readSokobanLevel(level, this.vocabulary);
    const { searchStates } = this.options;
    if (searchStates > 0 && solveBoard(board, searchStates).status === "unsolvable") {
      throw unsolvableLevel(player);
    }
    return board;
  }

  private newEpisode(board: SokobanBoard): Episode {
    return { board, text: new SokobanText(board, this.vocabulary.shown), steps: 0, over: false };
  }

  /** @throws SpaError EPISODE_OVER when the episode is over or none was started */
  step(action: string): StepResult {
    const episode = this.episode;
    if (episode === null || episode.over) {
      throw noEpisode(NAME, episode !== null);
    }
    const { board, text } = episode;
    const direction = this.lookup(action);
    if (direction < 0) {
      const info = { valid: false, effective: false, success: false };
      return { observation: text.text, reward: 0, terminated: false, truncated: false, info };
    }
    const onTargetBefore = board.boxesOnTarget;
    const moved = board.move(direction);
    if (moved !== STAYED) {
      text.follow(direction, moved);
    }
    const terminated = board.solved;
    let reward = REWARD_STEP + REWARD_BOX_ON_TARGET * (board.boxesOnTarget - onTargetBefore);
    if (terminated) {
      reward += REWARD_SOLVED;
    }
    episode.steps++;
    const truncated = !terminated && episode.steps >= this.options.maxSteps;
    episode.over = terminated || truncated;
    return {
      observation: text.text,
      reward,
      terminated,
      truncated,
      info: { valid: true, effective: moved !== STAYED, success: terminated },
    };
  }

  render(mode: RenderMode): string {
    const { board, text } = this.current();
    return mode === "grid" ? text.text : `${text.text}\n${describeSokoban(board, this.vocabulary)}`;
  }

  private current(): Episode {
    if (this.episode === null) {
      throw noEpisode(NAME, false);
    }
    return this.episode;
  }

  state(): Json {
    const { board, steps, over } = this.current();
    return { environment: NAME, room: printGrid(board.grid(), SOKOBAN_SYMBOLS), steps, over };
  }

  /** @throws SpaError BAD_ARGUMENT for a state of another environment, BAD_LEVEL for a mutilated room in it */
  restore(state: Json): void {
    const saved = parseState(NAME, stateSchema, state);
    const grid = readGrid(NAME, saved.room, createVocabulary(NAME, SOKOBAN_SYMBOLS));
    if (grid.cells.filter(isPlayer).length !== 1) {
      throw foreignState(NAME, "its room does not have one player");
    }
    const episode = this.newEpisode(new SokobanBoard(grid));
    this.episode = Object.assign(episode, { steps: saved.steps, over: saved.over });
  }

  /** The fewest actions that solve the room from here; null when none do, or the solver gave up (`searchStates`). */
  shortestSolution(): number | null {
    return this.solution()?.length ?? null;
  }

  /** The first of a shortest solution; null where that has more actions than are left. */
  bestAction(actionsLeft: number | null): string | null {
    const actions = this.solution();
    return actions === null || actions.length > (actionsLeft ?? actions.length) ? null : (actions[0] ?? null);
  }

  private solution(): string[] | null {
    const limit = this.options.searchStates || DEFAULT_SEARCH_STATES;
    const solution = solveBoard(this.current().board, limit);
    return solution.status === "solved" ? solution.actions : null;
  }
}

/**
 * A shortest solution of a level given as text, in actions.
 *
 * @param options `searchStates`: states to look at before giving up
 * @throws SpaError BAD_LEVEL for a malformed level
 */
export function solveSokoban(
  level: string,
  { symbols, searchStates }: Pick<SokobanOptions, "symbols" | "searchStates"> = {},
): Solution {
  const { board } = readSokobanLevel(level, createVocabulary(NAME, SOKOBAN_SYMBOLS, symbols));
  return solveBoard(board, searchStates);
}
