import { fieldNeeding } from "../addon/loss-fields.ts";
import type { Config } from "../config/schema.ts";
import {
  cacheBytes,
  gradientBytes,
  type MemoryModel,
  masterBytes,
  momentBytes,
  weightBytes,
} from "./model-memory.ts";
import { inferencePass, type PassMemory, samplingPass, trainingPass } from "./pass-memory.ts";

/** What takes memory, in bytes. */
export interface MemoryParts {
  weights: number;
  gradients: number;
  /** Float32 copies of bfloat16 weights that are trained. */
  master: number;
  moments: number;
  /** Keys and values of the tokens of all slots. */
  cache: number;
  activations: number;
  logits: number;
}

/** A kind of work within a stage. */
export type PhaseName = "sampling" | "scoring" | "update";

export interface PhaseMemory extends MemoryParts {
  phase: PhaseName;
  total: number;
}

export interface StageMemory {
  stage: "base" | "self-play" | "sft" | "ppo" | "evaluate";
  phases: PhaseMemory[];
  /** Of the phase that takes most. */
  peak: number;
}

/** What a stage does, as far as memory goes. */
export interface StageWork {
  stage: StageMemory["stage"];
  /** Models with weights at the same time, the trained one included. */
  models: number;
  /** Models that are trained, one after the other in each update. */
  trained: number;
  /** The longest row, in tokens. */
  row: number;
  /** Rows of an update; 0: nothing is trained. */
  updateRows: number;
  /** Rows that are scored together; 0: nothing is. */
  scoredRows: number;
  /** Slots that are sampled at the same time; 0: nothing is. */
  slots: number;
}

const nothing: PassMemory = { activations: 0, logits: 0 };

/** Predicts the memory of a stage, phase by phase. */
export function stageMemory(model: MemoryModel, work: StageWork): StageMemory {
  const { trained, models, row, updateRows, scoredRows, slots } = work;
  const kept = {
    weights: weightBytes(model, models),
    master: masterBytes(model, trained),
    moments: momentBytes(model, trained),
  };
  // Large models give their gradients back after each update.
  const between = model.sizes.sideBySide ? gradientBytes(model, trained) : 0;
  const phase = (name: PhaseName, gradients: number, cache: number, pass: PassMemory): PhaseMemory => {
    const parts = { ...kept, gradients, cache, ...pass };
    const total = Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);
    return { phase: name, ...parts, total };
  };
  const phases: PhaseMemory[] = [];
  if (slots > 0) {
    phases.push(phase("sampling", between, cacheBytes(model, slots, row), samplingPass(model, slots, row)));
  }
  if (scoredRows > 0)
    phases.push(phase("scoring", between, 0, inferencePass(model, scoredRows * row, row, true)));
  if (updateRows > 0) {
    // The actor's gradients stay while the critic's pass runs.
    const passes = Array.from({ length: trained }, (_, index) => {
      const gradients = Math.max(gradientBytes(model, index + 1), between);
      return phase("update", gradients, 0, trainingPass(model, updateRows * row, row, index === 0));
    });
    phases.push(passes.reduce((most, pass) => (pass.total > most.total ? pass : most)));
  }
  if (phases.length === 0) phases.push(phase("scoring", 0, 0, nothing));
  return { stage: work.stage, phases, peak: Math.max(...phases.map(({ total }) => total)) };
}

/** What the stages of a run do, at most: every row as long as the context, every trajectory of as many turns as allowed. */
export function stagesWork(config: Config, rolloutSlots: number): StageWork[] {
  const { maxTokens: row, context, maxTurns } = config.protocol;
  // A turn with a prompt of its own is a row of its own.
  const turns = context === "turn" ? maxTurns : 1;
  const { base, selfPlay, sft, evaluation, levels } = config;
  const slots = (plays: number) => Math.min(rolloutSlots, plays);
  const playing = { models: 1, trained: 0, row, updateRows: 0, scoredRows: 0 };
  const training = { models: 1, trained: 1, row };
  const works: StageWork[] = [];
  if (config.model.kind === "nano") {
    works.push({ stage: "base", ...training, updateRows: turns * base.batchSize, scoredRows: 0, slots: 0 });
  }
  if (config.arms.includes("spa")) {
    if (sft.data === null && selfPlay.policy === "model") {
      works.push({ stage: "self-play", ...playing, slots: slots(selfPlay.trajectories) });
    }
    works.push({
      stage: "sft",
      ...training,
      updateRows: turns * sft.batchSize,
      scoredRows: turns * sft.batchSize,
      slots: slots(sft.validationLevels),
    });
  }
  const tested = evaluation.split === "test" ? levels.testLevels : levels.tuningLevels;
  return [
    ...works,
    ppoWork(config, turns, slots),
    { stage: "evaluate", ...playing, slots: slots(tested * evaluation.samples) },
  ];
}

function ppoWork(
  { ppo, protocol, arms }: Config,
  turns: number,
  slots: (plays: number) => number,
): StageWork {
  const own = ppo.critic === "model" ? 1 : 0;
  const reference = fieldNeeding(ppo.loss, "referenceLogProbs") ? 1 : 0;
  const trajectories = ppo.groups * ppo.groupSize;
  const validated = ppo.validateEvery > 0 ? ppo.validationLevels * ppo.validationSamples : 0;
  // Of world-model prompts an update may also hold the rollouts with the true states written in.
  const copies = fieldNeeding(ppo.loss, "supervisedMask") && arms.some((arm) => arm !== "control") ? 2 : 1;
  const updated = Math.min(trajectories, Math.ceil(1.5 * ppo.minibatch));
  return {
    stage: "ppo",
    models: 1 + own + reference,
    trained: 1 + own,
    row: protocol.maxTokens,
    updateRows: copies * turns * updated,
    scoredRows: turns * trajectories,
    slots: slots(Math.max(trajectories, validated)),
  };
}
