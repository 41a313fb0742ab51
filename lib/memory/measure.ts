import type { PhaseName } from "../addon/addon.ts";
import type { Engine } from "../engine/engine.ts";
import type { Model } from "../engine/model.ts";
import { createTrainer, type Trainer } from "../engine/trainer.ts";
import { SpaError } from "../errors.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import { type MemorySettings, passMemory } from "./pass-memory.ts";
import { type StageWork, stageMemory } from "./stage-memory.ts";

/** What passes are measured with. */
export interface MeasuredModel {
  /** Without a limit of memory, and with nothing else on its device meanwhile. */
  engine: Engine;
  shape: ModelConfig;
  /** A model of that shape, whose weights may be any. It is trained, and thrown away. */
  createModel: () => Promise<Model>;
}

/** A phase as it was predicted and as the engine's allocator counted it, in bytes. */
export interface MeasuredPhase {
  stage: StageWork["stage"];
  phase: PhaseName;
  predicted: number;
  measured: number;
  /** The device has no more than `measured`; the phase would take more. */
  ranOut: boolean;
}

/** Tokens that are sampled in each slot. */
const SAMPLED = 6;

interface Models {
  actor: Model;
  /** The critic with a model of its own. */
  critic: Model | null;
  /** Of the models that are only scored with the last one. */
  scored: Model;
  all: Model[];
}

/**
 * Does what a stage does, once and with full rows: a whole update, a scoring pass, a step of sampling at the end of full
 * slots. Models and trainer are made for it and thrown away: nothing of a run is touched.
 *
 * @param sharedCritic the actor has a value head, which is trained with it
 * @returns the phases that the stage has; none after one that ran out of memory
 * @throws SpaError OUT_OF_MEMORY when there is no room for the models
 */
export async function measureStage(
  { engine, shape, createModel }: MeasuredModel,
  settings: MemorySettings,
  work: StageWork,
  { sharedCritic = false }: { sharedCritic?: boolean } = {},
): Promise<MeasuredPhase[]> {
  const predicted = new Map(
    stageMemory(shape, settings, work).phases.map(({ phase, total }) => [phase, total]),
  );
  const before = (await engine.memory()).current;
  const models = await createModels(createModel, settings, work, sharedCritic);
  try {
    const trainer = work.trained > 0 ? trainerOf(models, settings, sharedCritic) : null;
    const doing: Record<PhaseName, (tokens: number) => Promise<boolean>> = {
      update: (tokens) => update(trainer!, rowsOf(tokens, work.row, shape)),
      scoring: async (tokens) => {
        await models.scored.logProbs(rowsOf(tokens, work.row, shape));
        return true;
      },
      sampling: (tokens) => sample(models.actor, work, tokens, shape),
    };
    const results: MeasuredPhase[] = [];
    const passes = new Map(passMemory(shape, settings, work).map(({ phase, tokens }) => [phase, tokens]));
    // Small models keep their gradients from an update on.
    for (const phase of ["update", "scoring", "sampling"] as const) {
      const tokens = passes.get(phase);
      if (tokens === undefined || tokens === 0) continue;
      await engine.resetPeakMemory();
      const fitted = await doing[phase](tokens).catch(isOutOfMemory);
      const measured = (await engine.memory()).peak - before;
      results.push({ stage: work.stage, phase, predicted: predicted.get(phase)!, measured, ranOut: !fitted });
      if (!fitted) break;
    }
    await trainer?.dispose();
    return results;
  } finally {
    for (const model of models.all) await model.dispose();
  }
}

function isOutOfMemory(error: unknown): false {
  if (error instanceof SpaError && error.code === "OUT_OF_MEMORY") return false;
  throw error;
}

async function createModels(
  createModel: () => Promise<Model>,
  { lora }: MemorySettings,
  { models, trained }: StageWork,
  sharedCritic: boolean,
): Promise<Models> {
  const all: Model[] = [];
  const kept = (model: Model) => {
    all.push(model);
    return model;
  };
  try {
    let actor = kept(await createModel());
    if (lora !== null) {
      const backbone = actor;
      actor = kept(await backbone.addAdapter({ ...lora, alpha: lora.rank, valueHead: sharedCritic }));
      await backbone.dispose();
    } else if (sharedCritic) {
      const plain = actor;
      actor = kept(await plain.clone({ valueHead: true }));
      await plain.dispose();
    }
    const critic = trained > 1 ? kept(await actor.clone({ valueHead: true })) : null;
    let scored = actor;
    for (let count = Math.max(1, trained); count < models; count++) scored = kept(await actor.clone());
    return { actor, critic, scored, all };
  } catch (error) {
    for (const model of all) await model.dispose();
    throw error;
  }
}

function trainerOf({ actor, critic }: Models, settings: MemorySettings, sharedCritic: boolean): Trainer {
  const { microBatchTokens, activationCheckpointing, moments } = settings;
  return createTrainer(actor, {
    critic: sharedCritic ? "shared" : critic,
    microBatchTokens,
    activationCheckpointing,
    moments,
  });
}

interface Rows {
  tokens: Int32Array;
  offsets: Uint32Array;
}

/** Rows of `row` tokens, and one with what is left. */
function rowsOf(tokens: number, row: number, { vocabularySize }: ModelConfig): Rows {
  const offsets = Uint32Array.from({ length: Math.ceil(tokens / row) + 1 }, (_, i) =>
    Math.min(i * row, tokens),
  );
  return { tokens: Int32Array.from({ length: tokens }, (_, i) => (i * 7919) % vocabularySize), offsets };
}

/** One update on one micro-batch. Whether it found room without being cut smaller. */
async function update(trainer: Trainer, { tokens, offsets }: Rows): Promise<boolean> {
  const mask = new Uint8Array(tokens.length).fill(1);
  for (const begin of offsets.subarray(0, -1)) mask[begin] = 0;
  const zeros = new Float32Array(tokens.length);
  const values = { mask, oldValues: zeros, returns: zeros };
  const batch = { tokens, offsets, mask, oldLogProbs: zeros, advantages: zeros };
  const metrics = await trainer.step(trainer.critic === null ? batch : { ...batch, values }, { kind: "ppo" });
  return metrics.microBatchTokens === undefined;
}

/** Fills as many slots as one pass takes with prompts, the others with copies of one, and samples at the end of all. */
async function sample(
  model: Model,
  { slots, row }: StageWork,
  tokens: number,
  shape: ModelConfig,
): Promise<boolean> {
  const length = Math.max(1, row - SAMPLED - 2);
  const prompted = Math.min(slots, Math.ceil(tokens / row) + 1);
  const all = Array.from({ length: slots }, (_, slot) => slot);
  await using session = await model.openSession({ slots, maxTokens: row, seed: 0 });
  await session.extend(all.slice(0, prompted), rowsOf(prompted * length, length, shape));
  if (prompted < slots) await session.fork(0, all.slice(prompted));
  await session.generate(all, { maxNewTokens: SAMPLED });
  return true;
}
