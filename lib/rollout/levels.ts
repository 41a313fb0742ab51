import type { Environment } from "../../envs/environment.ts";
import { type GuardedEnvironment, guard } from "../../envs/guard.ts";
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
  /** The setting that the first seed comes from, for errors: `levels.testSeed`. */
  source?: string;
}

/** A bound on the shortest solutions of levels, in actions. */
export interface DistanceLimit {
  maxDistance: number;
  /** The setting that it comes from, for errors. */
  setting: string;
}

/** Why a seed was passed over: its content is excluded, its distance too long or unknown, or no level comes of it. */
type Refusal = "excluded" | "distant" | "missing";

/**
 * Seeds in a row that may be refused before the first level is found: levels are quick to compare, slow to solve, and slower to
 * seek in vain. Where there was one there may be more: then it may take {@link PATIENCE} times as many.
 */
const MOST_REFUSED: Readonly<Record<Refusal, number>> = { excluded: 20_000, distant: 1_000, missing: 60 };
const PATIENCE = 10;

/** The level that `seed` stands for. */
export async function drawLevel(environment: Environment, seed: number): Promise<Level> {
  const guarded = guard(environment);
  await guarded.reset({ seed });
  return { seed, grid: guarded.render("grid"), distance: guarded.shortestSolution?.() ?? null };
}

/**
 * Draws levels from consecutive seeds. It passes over those that the conditions refuse, and those that no level comes of (`reset`
 * throws BAD_ARGUMENT). Its counter is all its state.
 */
export class LevelStream {
  /** The next seed to look at. */
  nextSeed: number;
  readonly #environment: GuardedEnvironment;
  readonly #conditions: LevelConditions;
  #patience = 1;
  /** What `reset` said of the last seed that no level came of. */
  #missing: SpaError | undefined;

  /** @param environment an object of the stream's own: it is reset for each level */
  constructor(environment: Environment, firstSeed: number, conditions: LevelConditions = {}) {
    this.#environment = guard(environment);
    this.nextSeed = firstSeed;
    this.#conditions = conditions;
  }

  /**
   * The next `count` levels.
   *
   * @param limit a bound of these levels' own, in place of the conditions'
   * @throws SpaError BAD_CONFIG, by setting, when no further level meets the conditions or the seeds are at their end; ABORTED
   */
  async take(count: number, signal?: AbortSignal, limit = this.#limit): Promise<Level[]> {
    this.#checkDistances(limit);
    if (!Number.isSafeInteger(this.nextSeed + count - 1)) throw this.#seedsEnd();
    const levels: Level[] = [];
    let refused = { excluded: 0, distant: 0, missing: 0 };
    while (levels.length < count) {
      await heedSignal(signal);
      const drawn = await this.#draw(limit);
      if (typeof drawn === "object") {
        levels.push(drawn);
        this.#patience = PATIENCE;
        refused = { excluded: 0, distant: 0, missing: 0 };
      } else if (++refused[drawn] === this.#patience * MOST_REFUSED[drawn]) {
        throw this.#exhausted(refused, drawn, limit);
      }
    }
    return levels;
  }

  /** The level of the next seed, or why it is passed over. */
  async #draw(limit: DistanceLimit | undefined): Promise<Level | Refusal> {
    if (!Number.isSafeInteger(this.nextSeed)) throw this.#seedsEnd();
    const { excluded } = this.#conditions;
    let level: Level;
    try {
      level = await drawLevel(this.#environment, this.nextSeed++);
    } catch (error) {
      if (!(error instanceof SpaError && error.code === "BAD_ARGUMENT")) throw error;
      this.#missing = error;
      return "missing";
    }
    if (excluded?.has(level.grid)) return "excluded";
    const near = limit === undefined || (level.distance !== null && level.distance <= limit.maxDistance);
    return near ? level : "distant";
  }

  get #limit(): DistanceLimit | undefined {
    const { maxDistance } = this.#conditions;
    return maxDistance == null ? undefined : { maxDistance, setting: "levels.maxDistance" };
  }

  get #source(): string {
    return this.#conditions.source ?? "the first seed";
  }

  #checkDistances(limit: DistanceLimit | undefined): void {
    if (limit === undefined || this.#environment.shortestSolution !== undefined) return;
    const { name } = this.#environment;
    const { setting, maxDistance } = limit;
    const problem = `${setting}=${maxDistance} needs the length of a shortest solution, which ${name} does not tell`;
    throw new SpaError("BAD_CONFIG", problem, {
      hint: `set ${setting}=null, or let the environment implement shortestSolution()`,
    });
  }

  #seedsEnd(): SpaError {
    const problem = `there are no seeds after ${Number.MAX_SAFE_INTEGER}, to which the levels behind ${this.#source} come`;
    return new SpaError("BAD_CONFIG", problem, { hint: `lower ${this.#source}` });
  }

  #exhausted(
    refused: Readonly<Record<Refusal, number>>,
    most: Refusal,
    limit: DistanceLimit | undefined,
  ): SpaError {
    const why: Record<Refusal, string> = {
      excluded: "are test or tuning levels",
      distant: `have no known solution of at most ${limit?.maxDistance} actions (${limit?.setting})`,
      missing: `give no level: ${this.#missing?.message}`,
    };
    const hint: Record<Refusal, string> = {
      excluded:
        "make the environment larger, take fewer test levels (levels.testLevels, levels.tuningLevels), or set levels.disjoint=false",
      distant: `raise ${limit?.setting}, or make the environment's levels easier`,
      missing: `${this.#missing?.hint ?? "change the environment's options"}, or change ${this.#source}`,
    };
    const reasons = (Object.keys(why) as Refusal[]).filter((reason) => refused[reason] > 0);
    const seeds = reasons.reduce((sum, reason) => sum + refused[reason], 0);
    const counts = reasons.map((reason) => `${refused[reason]} ${why[reason]}`).join("; ");
    const problem = `no level of ${this.#environment.name} in ${seeds} seeds up to ${this.nextSeed - 1} (${this.#source}): ${counts}`;
    return new SpaError("BAD_CONFIG", problem, { hint: hint[most], cause: this.#missing });
  }
}

/** Settings of {@link splitLevels}; see `levels` in the configuration. */
interface SplitOptions {
  testSeed: number;
  tuningSeed: number;
  testLevels: number;
  tuningLevels: number;
  disjoint: boolean;
  maxDistance: number | null;
  testDistances: "natural" | "even";
}

/** Levels that are looked at for each test level of an even draw. */
const EVEN_DRAW = 10;

/** Seeds after the first that test levels may come from, as far as none is refused. */
export function testSeeds({
  testLevels,
  testDistances,
}: Pick<SplitOptions, "testLevels" | "testDistances">): number {
  return testDistances === "even" ? EVEN_DRAW * testLevels : testLevels;
}

/**
 * Of a stream's next levels `count` with as many of each distance, from 1 to the longest among them: the first ones of each. Where
 * a distance has too few, the others have more.
 *
 * @throws SpaError BAD_CONFIG where the environment does not tell distances, and as `LevelStream.take`
 */
async function takeEvenly(
  stream: LevelStream,
  options: SplitOptions,
  signal?: AbortSignal,
): Promise<Level[]> {
  const { testLevels: count } = options;
  const byDistance = new Map<number, Level[]>();
  for (const level of await stream.take(testSeeds(options), signal)) {
    if (level.distance === null || level.distance === 0) continue;
    byDistance.set(level.distance, [...(byDistance.get(level.distance) ?? []), level]);
  }
  const pools = [...byDistance].sort(([left], [right]) => left - right).map(([, levels]) => levels);
  const taken = pools.map(() => 0);
  for (let number = 0; number < count; number++) {
    const open = [...pools.keys()].filter((index) => taken[index] < pools[index].length);
    if (open.length === 0) {
      throw new SpaError(
        "BAD_CONFIG",
        `levels.testDistances=even finds ${number} levels of known distance, where levels.testLevels is ${count}`,
        { hint: "set levels.testDistances=natural, or let the environment implement shortestSolution()" },
      );
    }
    const fewest = open.reduce((least, index) => (taken[index] < taken[least] ? index : least));
    taken[fewest]++;
  }
  return pools
    .flatMap((levels, index) => levels.slice(0, taken[index]))
    .sort((left, right) => left.seed - right.seed);
}

/** Distances, from 1 to the longest of an even draw, of which it has found fewer levels than their share. */
export function scarceDistances(levels: readonly Level[]): number[] {
  const longest = levels.reduce((most, { distance }) => Math.max(most, distance ?? 0), 0);
  const share = Math.floor(levels.length / Math.max(1, longest));
  const distances = Array.from({ length: longest }, (_, index) => index + 1);
  return distances.filter((each) => levels.filter(({ distance }) => distance === each).length < share);
}

/** The levels that results are reported on, those that settings are chosen on, and what training must avoid. */
export interface LevelSplit {
  test: Level[];
  tuning: Level[];
  /** Contents of test and tuning levels; empty unless `disjoint`. */
  held: ReadonlySet<string>;
}

/**
 * Test and tuning levels. Test levels are those of consecutive seeds, as published, or of these as many of each distance; tuning
 * levels leave out what occurs among them.
 *
 * @throws SpaError BAD_CONFIG as `LevelStream.take`, and where an even draw does not find enough; ABORTED
 */
export async function splitLevels(
  environment: Environment,
  options: SplitOptions,
  signal?: AbortSignal,
): Promise<LevelSplit> {
  const { maxDistance } = options;
  const testStream = new LevelStream(environment, options.testSeed, {
    maxDistance,
    source: "levels.testSeed",
  });
  const test =
    options.testDistances === "even"
      ? await takeEvenly(testStream, options, signal)
      : await testStream.take(options.testLevels, signal);
  const testContents = new Set(options.disjoint ? test.map(({ grid }) => grid) : []);
  const tuningStream = new LevelStream(environment, options.tuningSeed, {
    excluded: testContents,
    maxDistance,
    source: "levels.tuningSeed",
  });
  const tuning = await tuningStream.take(options.tuningLevels, signal);
  const held = new Set(options.disjoint ? [...test, ...tuning].map(({ grid }) => grid) : []);
  return { test, tuning, held };
}
