import type { Device, PhaseName } from "../addon/addon.ts";
import type { Config } from "../config/schema.ts";
import { formatSize } from "../files/size.ts";
import { type MeasuredModel, type MeasuredPhase, measureStage } from "./measure.ts";
import {
  budgetFor,
  type Corrections,
  type MemoryPlan,
  planMemory,
  stagesWithSettings,
  unplanned,
} from "./plan.ts";
import { doesNotFit, doing, type ResolvedConfig, withMemorySettings } from "./resolve.ts";

/**
 * Whether a run measures its passes before it starts: on a GPU, where the workspaces of libraries and what the allocator
 * rounds cannot be known, if something depends on it.
 */
export function isMeasured({ engine }: Config, device: Device): boolean {
  const keys = Object.keys(unplanned) as (keyof typeof unplanned)[];
  return device === "cuda" && (engine.memory !== null || keys.some((key) => engine[key] === "auto"));
}

/**
 * Plans a run's memory, does its largest passes once with models that are thrown away, and where they take more than was
 * predicted, and with that more than the budget (or the device) has, chooses what is on "auto" anew and smaller.
 *
 * @param note told what was predicted and measured, and what was changed
 * @throws SpaError OUT_OF_MEMORY as {@link resolveMemory}, and when the device has no room for the models
 */
export async function warmUp(
  config: Config,
  model: MeasuredModel,
  note: (text: string) => void,
): Promise<ResolvedConfig> {
  const { shape } = model;
  const corrections: Corrections = { update: 1, scoring: 1, sampling: 1 };
  let budget = config.engine.memory;
  let plan = planMemory(config, shape, budget);
  if (!plan.fits) throw doesNotFit(plan);
  for (;;) {
    const measured = await measureLargest(config, model, plan);
    note(`memory: ${measured.map(describe).join("; ")}`);
    for (const { phase, predicted, measured: taken, ranOut } of measured) {
      if (ranOut) budget = Math.min(budget ?? Number.POSITIVE_INFINITY, budgetFor(taken, plan.device));
      const least = ranOut ? 1.05 * taken : taken;
      corrections[phase] = Math.max(corrections[phase], least / predicted);
    }
    const corrected = planMemory(config, shape, budget, corrections);
    const changes = changedSettings(plan, corrected);
    if (!corrected.fits) note(`memory: this may not be enough: ${describeLack(corrected)}`);
    if (changes.length === 0) return withMemorySettings(config, plan.settings);
    note(`memory: smaller settings to stay within it: ${changes.join(", ")}`);
    plan = corrected;
  }
}

/** Each kind of phase, where the plan has it at its largest. */
async function measureLargest(
  config: Config,
  model: MeasuredModel,
  { stages, settings }: MemoryPlan,
): Promise<MeasuredPhase[]> {
  const largest = new Map<PhaseName, { stage: string; total: number }>();
  for (const { stage, phases } of stages) {
    for (const { phase, total } of phases) {
      if (total > (largest.get(phase)?.total ?? 0)) largest.set(phase, { stage, total });
    }
  }
  const results: MeasuredPhase[] = [];
  for (const one of stagesWithSettings(config, settings)) {
    const { stage } = one.work;
    if (![...largest.values()].some((peak) => peak.stage === stage)) continue;
    const phases = await measureStage(model, one.settings, one.work);
    results.push(...phases.filter(({ phase }) => largest.get(phase)?.stage === stage));
  }
  return results;
}

function describe({ stage, phase, predicted, measured, ranOut }: MeasuredPhase): string {
  const found = ranOut ? `ran out at ${formatSize(measured)}` : `measured ${formatSize(measured)}`;
  return `${stage} while ${doing[phase]}: predicted ${formatSize(predicted)}, ${found}`;
}

function describeLack({ peak, usable }: MemoryPlan): string {
  return `about ${formatSize(peak)} of ${formatSize(usable ?? 0)} that can be planned with`;
}

function changedSettings(plan: MemoryPlan, corrected: MemoryPlan): string[] {
  const keys = Object.keys(unplanned) as (keyof typeof unplanned)[];
  return keys
    .filter((key) => plan.settings[key] !== corrected.settings[key])
    .map((key) => `engine.${key}=${corrected.settings[key]} in place of ${plan.settings[key]}`);
}
