import { z } from "zod";
import { actionLookup } from "../actions.ts";
import type { Environment, Json, RenderMode, ResetOptions, StepResult } from "../environment.ts";
import {
  createVocabulary,
  levelLines,
  MAX_SIDE,
  printGrid,
  readGrid,
  type Vocabulary,
} from "../grid-text.ts";
import {
  checkReset,
  foreignState,
  noEpisode,
  parseOptions,
  parseState,
  pcg64StateSchema,
} from "../options.ts";
import { Pcg64 } from "../rng/pcg64.ts";
import type { Solution } from "../solution.ts";
import { generateMap } from "./generate.ts";
import { readFrozenLakeLevel, unreachableGoal } from "./level.ts";
import {
  FROZEN,
  FROZEN_LAKE_ACTIONS,
  FROZEN_LAKE_SYMBOLS,
  type FrozenLakeMap,
  GOAL,
  HOLE,
  moveTable,
  PLAYER,
  PLAYER_IN_HOLE,
  PLAYER_ON_GOAL,
  slippedDirection,
} from "./map.ts";
import { describeFrozenLake, FrozenLakeText } from "./render.ts";
import { safestAction, shortestWay } from "./solver.ts";

const NAME = "frozen-lake";

/** Actions that a walk on slippery ice is planned for where nothing limits them. */
const LONG_WALK = 1000;

const optionsSchema = z.strictObject({
  /** Rows and columns of the maps drawn from a seed; a level given as text has its own. */
  size: z.int().min(2).max(MAX_SIDE).default(4),
  /** Whether a move goes to either side with probability 1/3 each. */
  slippery: z.boolean().default(true),
  /** Probability that a cell of a drawn map is frozen rather than a hole. */
  frozenProbability: z.number().gt(0).max(1).default(0.8),
  /** Steps after which an episode is truncated; null for no limit, as upstream. */
  maxSteps: z.int().min(1).nullable().default(null),
  /** Symbols to print and read in place of the standard ones, e.g. `{ "_": "." }`. */
  symbols: z.record(z.string(), z.string()).default({}),
});

/** Options of the environment; all have defaults. */
export type FrozenLakeOptions = z.input<typeof optionsSchema>;

const stateSchema = z.strictObject({
  environment: z.literal(NAME),
  map: z.string().regex(/^[_OG\n]+$/),
  position: z.int().min(0),
  steps: z.int().min(0),
  over: z.boolean(),
  generator: pcg64StateSchema.nullable(),
});

interface Episode {
  map: FrozenLakeMap;
  /** See `moveTable`. */
  moves: Uint16Array;
  text: FrozenLakeText;
  position: number;
  steps: number;
  over: boolean;
  /** Draws the slips; null when the ice does not slip. */
  generator: Pcg64 | null;
}

/**
 * FrozenLake as RAGEN plays it (Gymnasium's rules, random start and goal): walk to the goal, stay out of the holes.
 *
 * Reward 1 on reaching the goal, else 0. The episode terminates on the goal and in a hole. The same seed gives the
 * same map and the same slips as upstream. A level without a seed slips as with seed 0. An action of unknown name
 * changes nothing: it takes no time step and draws no slip.
 */
export class FrozenLakeEnvironment implements Environment {
  readonly name = NAME;
  readonly actions = FROZEN_LAKE_ACTIONS;
  private readonly options: z.output<typeof optionsSchema>;
  private readonly vocabulary: Vocabulary;
  private readonly lookup = actionLookup(FROZEN_LAKE_ACTIONS);
  private episode: Episode | null = null;

  /** @throws SpaError UNKNOWN_NAME or BAD_ARGUMENT for wrong options */
  constructor(options: FrozenLakeOptions = {}) {
    this.options = parseOptions(NAME, optionsSchema, options);
    this.vocabulary = createVocabulary(NAME, FROZEN_LAKE_SYMBOLS, this.options.symbols);
  }

  instructions(): string {
    const symbols = this.vocabulary.shown;
    const ice = this.options.slippery
      ? "The ice is slippery: a move goes in the chosen direction or to either side of it, each as likely. "
      : "";
    return (
      "You are crossing a frozen lake. Walk to the goal and do not fall into a hole. " +
      `${ice}The edge of the lake holds you back.\n` +
      `Symbols: ${symbols[PLAYER]} you, ${symbols[FROZEN]} frozen, ${symbols[HOLE]} hole, ${symbols[GOAL]} goal, ` +
      `${symbols[PLAYER_IN_HOLE]} you in a hole, ${symbols[PLAYER_ON_GOAL]} you on the goal.\n` +
      `An action is one of: ${this.actions.join(", ")}.`
    );
  }

  /** @throws SpaError BAD_LEVEL for a level that is malformed or has no way to the goal; BAD_ARGUMENT for a bad seed */
  reset(options: ResetOptions): string {
    const { seed, level } = checkReset(NAME, options);
    const map = level === undefined ? this.drawnMap(seed ?? 0) : this.levelMap(level);
    let generator: Pcg64 | null = null;
    if (this.options.slippery) {
      generator = new Pcg64(seed ?? 0);
      generator.random(); // Gymnasium spends the first number on choosing the start.
    }
    this.episode = this.newEpisode(map, generator);
    return this.episode.text.at(map.start);
  }

  private drawnMap(seed: number): FrozenLakeMap {
    return generateMap(seed, this.options.size, this.options.frozenProbability);
  }

  private levelMap(level: string): FrozenLakeMap {
    const map = readFrozenLakeLevel(level, this.vocabulary);
    if (shortestWay(map, map.start) === null) {
      throw unreachableGoal(map, this.vocabulary);
    }
    return map;
  }

  private newEpisode(map: FrozenLakeMap, generator: Pcg64 | null): Episode {
    const text = new FrozenLakeText(map, this.vocabulary.shown);
    return { map, moves: moveTable(map), text, position: map.start, steps: 0, over: false, generator };
  }

  /** @throws SpaError EPISODE_OVER when the episode is over or none was started */
  step(action: string): StepResult {
    const episode = this.episode;
    if (episode === null || episode.over) {
      throw noEpisode(NAME, episode !== null);
    }
    const intended = this.lookup(action);
    if (intended < 0) {
      const info = { valid: false, effective: false, success: false };
      return {
        observation: episode.text.at(episode.position),
        reward: 0,
        terminated: false,
        truncated: false,
        info,
      };
    }
    const { generator } = episode;
    const direction = generator === null ? intended : slippedDirection(intended, generator.random());
    const before = episode.position;
    const position = episode.moves[4 * before + direction];
    const cell = episode.map.cells[position];
    const success = cell === GOAL;
    const terminated = cell !== FROZEN;
    episode.position = position;
    episode.steps++;
    const truncated = !terminated && episode.steps === this.options.maxSteps;
    episode.over = terminated || truncated;
    return {
      observation: episode.text.at(episode.position),
      reward: success ? 1 : 0,
      terminated,
      truncated,
      info: { valid: true, effective: position !== before, success },
    };
  }

  render(mode: RenderMode): string {
    const { map, text, position } = this.current();
    const grid = text.at(position);
    return mode === "grid" ? grid : `${grid}\n${describeFrozenLake(map, position, this.vocabulary)}`;
  }

  private current(): Episode {
    if (this.episode === null) {
      throw noEpisode(NAME, false);
    }
    return this.episode;
  }

  state(): Json {
    const { map, position, steps, over, generator } = this.current();
    return {
      environment: NAME,
      map: printGrid(map, FROZEN_LAKE_SYMBOLS),
      position,
      steps,
      over,
      generator: generator === null ? null : { ...generator.state() },
    };
  }

  /** @throws SpaError BAD_ARGUMENT for a state of another environment, or of ice that slips where this does not */
  restore(state: Json): void {
    const saved = parseState(NAME, stateSchema, state);
    if ((saved.generator !== null) !== this.options.slippery) {
      throw foreignState(NAME, `it was saved with slippery: ${String(saved.generator !== null)}`);
    }
    const grid = readGrid(NAME, saved.map, createVocabulary(NAME, FROZEN_LAKE_SYMBOLS));
    if (saved.position >= grid.cells.length) {
      throw foreignState(
        NAME,
        `position ${saved.position} is outside its map of ${levelLines(saved.map).length} rows`,
      );
    }
    let generator: Pcg64 | null = null;
    if (saved.generator !== null) {
      generator = new Pcg64(0);
      generator.restore(saved.generator);
    }
    const episode = this.newEpisode({ ...grid, start: saved.position }, generator);
    this.episode = Object.assign(episode, { position: saved.position, steps: saved.steps, over: saved.over });
  }

  /** What leads to the goal most probably in so many actions (null: without a limit but `maxSteps`), slips in mind. */
  bestAction(actionsLeft: number | null): string | null {
    const { map, position, steps, generator } = this.current();
    if (generator === null) {
      const way = shortestWay(map, position);
      return way === null || way.length > (actionsLeft ?? way.length) ? null : (way[0] ?? null);
    }
    const { maxSteps } = this.options;
    const left = Math.min(actionsLeft ?? LONG_WALK, maxSteps === null ? LONG_WALK : maxSteps - steps);
    return safestAction(map, position, left);
  }

  /** The fewest actions to the goal when no move slips; null when it is out of reach (in a hole). */
  shortestSolution(): number | null {
    const { map, position } = this.current();
    return shortestWay(map, position)?.length ?? null;
  }
}

/**
 * A shortest solution of a level given as text, when no move slips.
 *
 * @throws SpaError BAD_LEVEL for a malformed level
 */
export function solveFrozenLake(level: string, options: Pick<FrozenLakeOptions, "symbols"> = {}): Solution {
  const map = readFrozenLakeLevel(level, createVocabulary(NAME, FROZEN_LAKE_SYMBOLS, options.symbols));
  const actions = shortestWay(map, map.start);
  return actions === null ? { status: "unsolvable" } : { status: "solved", actions };
}
