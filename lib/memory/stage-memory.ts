import type { NativePassMemory, NativeWorkload, PhaseName } from "../addon/addon.ts";
import { fieldNeeding } from "../addon/loss-fields.ts";
import { hasPpo, hasSft } from "../config/arms.ts";
import type { Config } from "../config/schema.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import { type MemorySettings, passMemory } from "./pass-memory.ts";

/** What takes memory, in bytes. */
export type MemoryParts = Omit<NativePassMemory, "phase" | "tokens">;

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
export interface StageWork extends NativeWorkload {
  stage: StageMemory["stage"];
}

/** Predicts the memory of a stage, phase by phase. */
export function stageMemory(shape: ModelConfig, settings: MemorySettings, work: StageWork): StageMemory {
  const phases = passMemory(shape, settings, work).map(({ phase, tokens: _, ...parts }) => {
    const total = Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);
    return { phase, ...parts, total };
  });
  return { stage: work.stage, phases, peak: Math.max(...phases.map(({ total }) => total)) };
}

/** Levels whose true states an evaluation lets a model score. */
export const PERPLEXITY_LEVELS = 32;

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
  if (hasSft(config.arms)) {
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
  const ppoTurns = context === "turn" ? Math.max(maxTurns, config.ppo.interaction.maxTurns ?? 1) : 1;
  if (hasPpo(config.arms)) works.push(ppoWork(config, ppoTurns, slots));
  const tested = evaluation.split === "test" ? levels.testLevels : levels.tuningLevels;
  works.push({
    stage: "evaluate",
    ...playing,
    scoredRows: turns * PERPLEXITY_LEVELS,
    slots: slots(tested * evaluation.samples),
  });
  return works;
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
    // Replies of a validation are scored behind all of its prompts.
    scoredRows: Math.max(turns * trajectories, ppo.informationLevels ** 2),
    slots: slots(Math.max(trajectories, validated)),
  };
}
