import { availableParallelism } from "node:os";
import type { Device, PhaseName } from "../addon/addon.ts";
import { addonInfo } from "../addon/loader.ts";
import type { Config } from "../config/schema.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import type { MemorySettings } from "./pass-memory.ts";
import {
  type PhaseMemory,
  type StageMemory,
  type StageWork,
  stageMemory,
  stagesWork,
} from "./stage-memory.ts";

/** What a run would take, and the settings that a budget leads to. */
export interface MemoryPlan {
  device: Device;
  /** Bytes; null: none was given. */
  budget: number | null;
  /** What of the budget may be planned with. */
  usable: number | null;
  fits: boolean;
  settings: MemorySettings;
  stages: StageMemory[];
  /** Of the stage that takes most. */
  peak: number;
  /** Other settings, as key=value, that would fit; empty when the plan does. */
  alternatives: string[];
  /** The least budget that would do with the settings that are fixed. */
  needed: number;
}

/** The part of a budget that allocators lose to fragments and roundings. */
const slack = 0.05;

/** What a CUDA context and its libraries take beside tensors. */
const contextBytes = 600e6;

/** In order of preference: fewer, larger micro-batches are faster, checkpointing costs a third of a step. */
const microBatches = [8192, 4096, 2048, 1024, 512];
const slotCounts = [256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1];

/** What "auto" stands for without a budget. */
export const unplanned = { microBatchTokens: 8192, rolloutSlots: 256, activationCheckpointing: false };

/** The device that a configuration means on this machine. */
export function plannedDevice({ engine }: Config): Device {
  if (engine.device !== "auto") return engine.device;
  return addonInfo().devices.length > 0 ? "cuda" : "cpu";
}

function usableBytes(budget: number, device: Device): number {
  return Math.max(0, budget * (1 - slack) - (device === "cuda" ? contextBytes : 0));
}

/** The least budget of which so many bytes may be planned with. */
export function budgetFor(usable: number, device: Device): number {
  return Math.ceil((usable + (device === "cuda" ? contextBytes : 0)) / (1 - slack));
}

/** Settings to try, best first; those that the configuration fixes are tried alone. */
function candidates(config: Config, budget: number | null) {
  const { microBatchTokens, rolloutSlots, activationCheckpointing } = config.engine;
  const open = budget !== null;
  const either = <T>(value: T | "auto", choices: T[], fixed: T): T[] =>
    value !== "auto" ? [value] : open ? choices : [fixed];
  const tokens = either(microBatchTokens, microBatches, unplanned.microBatchTokens);
  const checkpointing = either(activationCheckpointing, [false, true], unplanned.activationCheckpointing);
  const updates = tokens.flatMap((microBatch) =>
    checkpointing.map((checkpoints) => ({
      microBatchTokens: microBatch,
      activationCheckpointing: checkpoints,
    })),
  );
  // Small micro-batches without checkpointing are slower than large ones with it.
  const rank = (update: (typeof updates)[number]) =>
    Math.log2(8192 / update.microBatchTokens) + (update.activationCheckpointing ? 2.5 : 0);
  return {
    slots: either(rolloutSlots, slotCounts, unplanned.rolloutSlots),
    updates: updates.sort((a, b) => rank(a) - rank(b)),
  };
}

function settingsOf(config: Config, device: Device): Omit<MemorySettings, keyof typeof unplanned> {
  const { threads, dtype, moments } = config.engine;
  return { device, threads: threads ?? availableParallelism(), dtype, moments, lora: config.lora };
}

/** What the stages of a run do, each with the settings that it is done with. */
export function stagesWithSettings(
  config: Config,
  settings: MemorySettings,
): { work: StageWork; settings: MemorySettings }[] {
  return stagesWork(config, settings.rolloutSlots).map((work) => {
    // The base is trained, and self-play played, before there is an adapter.
    const hasAdapter = work.stage === "sft" || work.stage === "ppo" || work.stage === "evaluate";
    return { work, settings: hasAdapter ? settings : { ...settings, lora: null } };
  });
}

/** How many times what was predicted for a phase it is known to take. */
export type Corrections = Record<PhaseName, number>;

const uncorrected: Corrections = { update: 1, scoring: 1, sampling: 1 };

function predict(
  config: Config,
  shape: ModelConfig,
  settings: MemorySettings,
  corrections: Corrections,
): StageMemory[] {
  return stagesWithSettings(config, settings).map((one) => {
    const { stage, phases } = stageMemory(shape, one.settings, one.work);
    const corrected = phases.map((phase) => ({ ...phase, total: phase.total * corrections[phase.phase] }));
    return { stage, phases: corrected, peak: Math.max(...corrected.map(({ total }) => total)) };
  });
}

function largest(stages: readonly StageMemory[], wanted: (phase: PhaseMemory) => boolean): number {
  return Math.max(0, ...stages.flatMap(({ phases }) => phases.filter(wanted).map(({ total }) => total)));
}

const isSampling = ({ phase }: PhaseMemory) => phase === "sampling";
const isOther = (phase: PhaseMemory) => !isSampling(phase);

/** The best settings for a budget, or the thriftiest when none fits. */
function choose(
  config: Config,
  shape: ModelConfig,
  budget: number | null,
  corrections: Corrections,
): Omit<MemoryPlan, "alternatives" | "needed"> {
  const device = plannedDevice(config);
  const usable = budget === null ? null : usableBytes(budget, device);
  const { slots, updates } = candidates(config, budget);
  const fixed = settingsOf(config, device);
  const within = (bytes: number) => usable === null || bytes <= usable;
  const update =
    updates.find((candidate) => {
      const settings = { ...fixed, ...candidate, rolloutSlots: 1 };
      return within(largest(predict(config, shape, settings, corrections), isOther));
    }) ?? updates.at(-1)!;
  const rolloutSlots =
    slots.find((count) => {
      const settings = { ...fixed, ...update, rolloutSlots: count };
      return within(largest(predict(config, shape, settings, corrections), isSampling));
    }) ?? slots.at(-1)!;
  const settings = { ...fixed, ...update, rolloutSlots };
  const stages = predict(config, shape, settings, corrections);
  const peak = Math.max(...stages.map((stage) => stage.peak));
  return { device, budget, usable, fits: within(peak), settings, stages, peak };
}

/** Other settings worth a try where nothing fits, by how much they change. */
function variants(config: Config): { text: string; config: Config }[] {
  const { engine } = config;
  const auto = { microBatchTokens: "auto", rolloutSlots: "auto", activationCheckpointing: "auto" } as const;
  const freed = { ...config, engine: { ...engine, ...auto } };
  const lora = { rank: 16, alpha: 32, dropout: 0, targets: [...allTargets] };
  const list = [
    {
      text: Object.keys(auto)
        .map((key) => `engine.${key}=auto`)
        .join(" "),
      config: freed,
    },
  ];
  const half = { ...freed, engine: { ...freed.engine, dtype: "bfloat16" as const } };
  const dtype = engine.dtype === "float32" ? ["engine.dtype=bfloat16"] : [];
  if (engine.dtype === "float32") list.push({ text: dtype.join(" "), config: half });
  const bytes = { ...half, engine: { ...half.engine, moments: "int8" as const } };
  if (engine.moments === "float32")
    list.push({ text: [...dtype, "engine.moments=int8"].join(" "), config: bytes });
  if (config.lora === null) list.push({ text: [...dtype, "lora={}"].join(" "), config: { ...half, lora } });
  return list;
}

const allTargets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] as const;

/**
 * Predicts what each stage of a run takes at most and, with a budget, chooses what the configuration leaves to it
 * (`"auto"`): tokens of a micro-batch, slots, activation checkpointing.
 *
 * @param corrections what measurements have shown
 */
export function planMemory(
  config: Config,
  shape: ModelConfig,
  budget: number | null,
  corrections: Corrections = uncorrected,
): MemoryPlan {
  const plan = choose(config, shape, budget, corrections);
  const needed = budgetFor(choose(config, shape, 1, corrections).peak, plan.device);
  const alternatives = plan.fits
    ? []
    : variants(config)
        .filter((variant) => choose(variant.config, shape, budget, corrections).fits)
        .map(({ text }) => text);
  return { ...plan, alternatives, needed };
}
