import type { Environment } from "../../envs/environment.ts";
import type { Config } from "../config/schema.ts";
import { type LevelConditions, LevelStream, testSeeds } from "../rollout/levels.ts";
import type { StageContext } from "./context.ts";

/** How far the training levels of the other stages lie from those of PPO, in seeds. */
const SEED_OFFSETS = { ppo: 0, "self-play": 1_000_000, base: 2_000_000 };

/** Room between the level seeds of two rounds of self-play. */
const SEEDS_PER_ROUND = 100_000;

/** The training levels that a stage draws. */
interface TrainingDraw {
  /** Kinds of stages have levels of their own; PPO's are the same, in the same order, for all arms. */
  kind: keyof typeof SEED_OFFSETS;
  /** Round of self-play, from 1 on. */
  round?: number;
}

/** What {@link trainingLevels} needs of a context. */
interface LevelContext extends Pick<StageContext, "environments" | "split"> {
  config: Pick<Config, "levels">;
}

/** The levels of a draw, from the first on, without the contents of test and tuning levels. */
export function trainingLevels(context: LevelContext, draw: TrainingDraw): LevelStream {
  return streamOf(context.config, context.environments.acquire(), draw, context.split.held);
}

function offsetOf({ kind, round = 1 }: TrainingDraw): number {
  return SEED_OFFSETS[kind] + (round - 1) * SEEDS_PER_ROUND;
}

function streamOf(
  { levels }: Pick<Config, "levels">,
  environment: Environment,
  draw: TrainingDraw,
  excluded: ReadonlySet<string>,
): LevelStream {
  const offset = offsetOf(draw);
  const source = offset === 0 ? "levels.trainSeed" : `levels.trainSeed + ${offset}`;
  const conditions: LevelConditions = { excluded, maxDistance: levels.maxDistance, source };
  return new LevelStream(environment, levels.trainSeed + offset, conditions);
}

/** A stage as far as training levels go. */
export interface DrawingStage {
  /** The training levels that it draws, at least so many. */
  draws?: TrainingDraw & { count: number };
}

/**
 * Sees that a run will find its levels before hours of training are spent: one is drawn where each stage, and the test and tuning
 * levels, come to their last.
 *
 * @param options.excluded contents of test and tuning levels, as far as they are known
 * @throws SpaError BAD_CONFIG as `LevelStream.take`, ABORTED, and what the environment throws
 */
export async function checkLevels(
  config: Pick<Config, "levels">,
  stages: readonly DrawingStage[],
  environment: Environment,
  { excluded = new Set(), signal }: { excluded?: ReadonlySet<string>; signal?: AbortSignal | undefined },
): Promise<void> {
  const { testSeed, tuningSeed, tuningLevels, maxDistance } = config.levels;
  const test = new LevelStream(environment, testSeed, { maxDistance, source: "levels.testSeed" });
  const tuning = new LevelStream(environment, tuningSeed, { maxDistance, source: "levels.tuningSeed" });
  const drawn = [
    { stream: test, count: testSeeds(config.levels) },
    { stream: tuning, count: tuningLevels },
    ...stages.flatMap(({ draws }) =>
      draws === undefined
        ? []
        : { stream: streamOf(config, environment, draws, excluded), count: draws.count },
    ),
  ];
  for (const { stream, count } of drawn) {
    stream.nextSeed += count - 1;
    await stream.take(1, signal);
  }
}

/**
 * Where levels may be trained on and reported on: in words, the seeds that two kinds of levels share. None where
 * `levels.disjoint` keeps their contents apart.
 */
export function sharedSeeds({ levels }: Pick<Config, "levels">, stages: readonly DrawingStage[]): string[] {
  if (levels.disjoint) return [];
  const held = [
    { name: "test levels (levels.testSeed)", first: levels.testSeed, count: testSeeds(levels) },
    { name: "tuning levels (levels.tuningSeed)", first: levels.tuningSeed, count: levels.tuningLevels },
  ];
  const trained = stages.flatMap(({ draws }) =>
    draws === undefined
      ? []
      : {
          name: "training levels (levels.trainSeed)",
          first: levels.trainSeed + offsetOf(draws),
          count: draws.count,
        },
  );
  const pairs = [
    [held[0], held[1]] as const,
    ...trained.flatMap((one) => held.map((other) => [one, other] as const)),
  ];
  const shared = pairs.flatMap(([one, other]) => {
    const begin = Math.max(one.first, other.first);
    const end = Math.min(one.first + one.count, other.first + other.count) - 1;
    return begin > end
      ? []
      : `seeds ${begin} to ${end} are ${one.name} and ${other.name}: levels.disjoint=false`;
  });
  return [...new Set(shared)];
}
