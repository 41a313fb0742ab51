import type { Environment } from "../../envs/environment.ts";
import { heedSignal, SpaError } from "../errors.ts";

/** A level as it stands at the start of an episode. */
export interface Level {
  seed: number;
  /** `render("grid")` at the start: what a level is compared by, and what `reset` takes. */
  grid: string;
  /** Length of a shortest solution; null where the environment cannot tell or there is none. */
  distance: number | null;
}

/** Which levels a draw may return. */
export interface LevelConditions {
  /** Contents that must not occur. */
  excluded?: ReadonlySet<string>;
  /** Longest shortest solution; null: any. */
  maxDistance?: number | null;
}

/** Seeds looked at without finding a level before a draw gives up. */
const MAX_REFUSED = 20_000;

/** The level that `seed` stands for. */
export async function drawLevel(environment: Environment, seed: number): Promise<Level> {
  await environment.reset({ seed });
  return { seed, grid: environment.render("grid"), distance: environment.shortestSolution?.() ?? null };
}

/** Draws levels from consecutive seeds and skips those that the conditions refuse. Its counter is all its state. */
export class LevelStream {
  /** The next seed to look at. */
  nextSeed: number;
  readonly #environment: Environment;
  readonly #conditions: LevelConditions;

  /** @param environment an object of the stream's own: it is reset for each level */
  constructor(environment: Environment, firstSeed: number, conditions: LevelConditions = {}) {
    this.#environment = environment;
    this.nextSeed = firstSeed;
    this.#conditions = conditions;
  }

  /** The next `count` levels. @throws SpaError BAD_CONFIG when no further level meets the conditions; ABORTED */
  async take(count: number, signal?: AbortSignal): Promise<Level[]> {
    const levels: Level[] = [];
    let refused = 0;
    while (levels.length < count) {
      await heedSignal(signal);
      const level = await drawLevel(this.#environment, this.nextSeed++);
      if (this.#allows(level)) {
        levels.push(level);
        refused = 0;
      } else if (++refused === MAX_REFUSED) {
        throw new SpaError(
          "BAD_CONFIG",
          `none of ${MAX_REFUSED} seeds up to ${this.nextSeed - 1} gives a level of ${this.#environment.name} that is not a test or tuning level`,
          { hint: "make the environment larger, take fewer test levels, or set levels.disjoint=false" },
        );
      }
    }
    return levels;
  }

  #allows(level: Level): boolean {
    const { excluded, maxDistance } = this.#conditions;
    if (excluded?.has(level.grid)) return false;
    return maxDistance == null || (level.distance !== null && level.distance <= maxDistance);
  }
}

/** Settings of {@link splitLevels}; see `levels` in the configuration. */
export interface SplitOptions {
  testSeed: number;
  tuningSeed: number;
  testLevels: number;
  tuningLevels: number;
  disjoint: boolean;
  maxDistance: number | null;
}

/** The levels that results are reported on, those that settings are chosen on, and what training must avoid. */
export interface LevelSplit {
  test: Level[];
  tuning: Level[];
  /** Contents of test and tuning levels; empty unless `disjoint`. */
  held: ReadonlySet<string>;
}

/**
 * Test and tuning levels. Test levels are those of consecutive seeds, as published; tuning levels leave out what
 * occurs among them.
 */
export async function splitLevels(
  environment: Environment,
  options: SplitOptions,
  signal?: AbortSignal,
): Promise<LevelSplit> {
  const { maxDistance } = options;
  const testStream = new LevelStream(environment, options.testSeed, { maxDistance });
  const test = await testStream.take(options.testLevels, signal);
  const testContents = new Set(options.disjoint ? test.map(({ grid }) => grid) : []);
  const tuningStream = new LevelStream(environment, options.tuningSeed, {
    excluded: testContents,
    maxDistance,
  });
  const tuning = await tuningStream.take(options.tuningLevels, signal);
  const held = new Set(options.disjoint ? [...test, ...tuning].map(({ grid }) => grid) : []);
  return { test, tuning, held };
}
