import type { Environment } from "../../envs/environment.ts";
import type { Config } from "../config/schema.ts";
import type { Engine } from "../native/engine.ts";
import type { Model } from "../native/model.ts";
import { EnvironmentPool } from "../rollout/episode.ts";
import { type LevelConditions, type LevelSplit, LevelStream, splitLevels } from "../rollout/levels.ts";
import { TurnProtocol } from "../rollout/turn-protocol.ts";
import type { Progress } from "../run/progress.ts";
import type { RunFolder } from "../run/run-folder.ts";
import type { TurnFormat } from "../text/tags.ts";
import { checkTokenizerFits, type Tokenizer } from "../text/tokenizer.ts";

/** What every stage works with. */
export interface StageContext {
  run: RunFolder;
  config: Config;
  engine: Engine;
  tokenizer: Tokenizer;
  /** Where the files of a pretrained model are; null where the run trains its own base. */
  pretrainedFolder: string | null;
  /** Makes an environment of the run's kind. */
  createEnvironment: () => Environment;
  environments: EnvironmentPool;
  /** Test and tuning levels, and the contents that training must avoid. */
  split: LevelSplit;
  progress: Progress;
  signal: AbortSignal | undefined;
}

/** What {@link createStageContext} makes the rest from. */
export type StageContextParts = Omit<StageContext, "environments" | "split">;

/** Draws the test and tuning levels and completes a context. */
export async function createStageContext(parts: StageContextParts): Promise<StageContext> {
  return {
    ...parts,
    environments: new EnvironmentPool(parts.createEnvironment),
    split: await splitLevels(parts.createEnvironment(), parts.config.levels),
  };
}

/** How far the training levels of the other stages lie from those of PPO, in seeds. */
const SEED_OFFSETS = { ppo: 0, "self-play": 1_000_000, base: 2_000_000 };

/**
 * The training levels of a kind of stage. The arms' PPO stages see the same levels in the same order; self-play and base
 * have levels of their own.
 */
export function trainingLevels(context: StageContext, kind: keyof typeof SEED_OFFSETS): LevelStream {
  const { levels } = context.config;
  const conditions: LevelConditions = { excluded: context.split.held, maxDistance: levels.maxDistance };
  return new LevelStream(context.createEnvironment(), levels.trainSeed + SEED_OFFSETS[kind], conditions);
}

/** The turn protocol of a run in one format. */
export function protocolOf(context: StageContext, format: TurnFormat): TurnProtocol {
  return new TurnProtocol(context.tokenizer, context.config.protocol, format);
}

/** Loads a model's folder in the run's dtype. @throws SpaError BAD_TOKENIZER when the run's tokenizer does not fit it */
export async function loadModel(context: StageContext, folder: string): Promise<Model> {
  const model = await context.engine.loadModel(folder, { dtype: context.config.engine.dtype });
  try {
    checkTokenizerFits(context.tokenizer, model.config.vocabularySize);
  } catch (error) {
    await model.dispose();
    throw error;
  }
  return model;
}
