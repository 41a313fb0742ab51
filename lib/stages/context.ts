import type { Environment } from "../../envs/environment.ts";
import type { Engine } from "../engine/engine.ts";
import type { Model } from "../engine/model.ts";
import { SpaError } from "../errors.ts";
import { isAdapterFolder } from "../formats/adapter-folder.ts";
import type { ResolvedConfig } from "../memory/resolve.ts";
import { EnvironmentPool } from "../rollout/environment-pool.ts";
import { type LevelSplit, splitLevels } from "../rollout/levels.ts";
import { TurnProtocol } from "../rollout/turn-protocol.ts";
import { checkLargeFiles, latestCheckpoint } from "../run/checkpoint.ts";
import type { Progress } from "../run/progress.ts";
import type { RunFolder } from "../run/run-folder.ts";
import type { RunObserver } from "../run/run-observer.ts";
import type { TurnFormat } from "../text/tags.ts";
import { checkTokenizerFits, type Tokenizer } from "../text/tokenizer.ts";

/** What every stage works with. */
export interface StageContext {
  run: RunFolder;
  config: ResolvedConfig;
  engine: Engine;
  tokenizer: Tokenizer;
  /** Where the files of a pretrained model, or of another run's stage, are; null where the run trains its own base. */
  pretrainedFolder: string | null;
  /** Environments of the run's kind; whoever opened the context closes them. */
  environments: EnvironmentPool;
  /** Test and tuning levels, and the contents that training must avoid. */
  split: LevelSplit;
  progress: Progress;
  observer: Required<RunObserver>;
  signal: AbortSignal | undefined;
}

/** What {@link createStageContext} makes the rest from. */
interface StageContextParts extends Omit<StageContext, "environments" | "split"> {
  /** Makes an environment of the run's kind. */
  createEnvironment: () => Environment;
}

/** Draws the test and tuning levels and completes a context. */
export async function createStageContext({
  createEnvironment,
  ...parts
}: StageContextParts): Promise<StageContext> {
  return { ...parts, ...(await openEnvironments(parts, createEnvironment)) };
}

/** The environments of a configuration, and its test and tuning levels. */
export async function openEnvironments(
  { config: { environment, levels }, signal }: Pick<StageContext, "config" | "signal">,
  createEnvironment: () => Environment,
): Promise<Pick<StageContext, "environments" | "split">> {
  const environments = new EnvironmentPool(createEnvironment, { timeout: environment.timeout });
  try {
    const drawing = environments.acquire();
    const split = await splitLevels(drawing, levels, signal);
    environments.release(drawing);
    return { environments, split };
  } catch (error) {
    await environments.close();
    throw error;
  }
}

/** The turn protocol of a run in one format. */
export function protocolOf(context: StageContext, format: TurnFormat): TurnProtocol {
  return new TurnProtocol(context.tokenizer, context.config.protocol, format);
}

/** Id of the stage that trains the nano base. */
export const BASE_STAGE = "base";

/**
 * The folder of the base model: the pretrained one, that of another run's stage, or what the base stage ended with.
 *
 * @throws SpaError BAD_ARGUMENT when the base stage is not done, BAD_CHECKPOINT when its checkpoint is broken
 */
export function baseFolder({
  run,
  pretrainedFolder,
}: Pick<StageContext, "run" | "pretrainedFolder">): string {
  if (pretrainedFolder !== null) return pretrainedFolder;
  return stageFolder(run, BASE_STAGE);
}

/** The folder of the model that a stage ended with. Errors as in {@link baseFolder}. */
export function stageFolder(run: RunFolder, stage: string): string {
  const checkpoint = run.stage(stage)?.state === "done" ? latestCheckpoint(run, stage) : undefined;
  if (checkpoint) return checkpoint.folder;
  throw new SpaError("BAD_ARGUMENT", `${run.path} has not finished the stage ${stage}`, {
    hint: "do the stages in order, or go on with the whole run: spa train --resume",
  });
}

/** What {@link loadModel} needs of a context. */
export type ModelContext = Pick<
  StageContext,
  "run" | "config" | "engine" | "tokenizer" | "pretrainedFolder"
> & { signal?: AbortSignal | undefined };

/**
 * Loads a model's folder in the run's dtype; of an adapter's folder the adapter, on the run's base model.
 *
 * @throws SpaError ABORTED, BAD_TOKENIZER when the run's tokenizer does not fit it, BAD_CHECKPOINT when a checkpoint of the
 * run is not what was saved
 */
export async function loadModel(context: ModelContext, folder: string): Promise<Model> {
  const isAdapter = isAdapterFolder(folder);
  const whole = isAdapter ? baseFolder(context) : folder;
  for (const read of new Set([folder, whole])) await checkLargeFiles(context.run, read);
  const { engine, config, signal } = context;
  const model = await engine.loadModel(whole, { dtype: config.engine.dtype, signal });
  try {
    checkTokenizerFits(context.tokenizer, model.config.vocabularySize, model.config.endTokens);
    const isForeign = config.model.kind === "stage" && whole === context.pretrainedFolder;
    if (!isAdapter && !(isForeign && model.hasValueHead)) return model;
    // A critic's head belongs to the run that trained it.
    const loaded = isAdapter
      ? await model.loadAdapter(folder, { signal })
      : await model.clone({ valueHead: false });
    await model.dispose();
    return loaded;
  } catch (error) {
    await model.dispose();
    throw error;
  }
}
