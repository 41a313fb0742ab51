import type { Config } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import { formatSize } from "../files/size.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import { type MemoryPlan, planMemory, unplanned } from "./plan.ts";

/** A configuration in which nothing about memory is left open. */
export type ResolvedConfig = Omit<Config, "engine"> & {
  engine: Omit<Config["engine"], keyof typeof unplanned> & {
    microBatchTokens: number;
    rolloutSlots: number;
    activationCheckpointing: boolean;
  };
};

/** `config` with what stands on "auto" filled in: as planned, else what is usual without a budget. */
export function withMemorySettings(config: Config, chosen: typeof unplanned = unplanned): ResolvedConfig {
  const { engine } = config;
  const either = <T>(value: T | "auto", otherwise: T): T => (value === "auto" ? otherwise : value);
  return {
    ...config,
    engine: {
      ...engine,
      microBatchTokens: either(engine.microBatchTokens, chosen.microBatchTokens),
      rolloutSlots: either(engine.rolloutSlots, chosen.rolloutSlots),
      activationCheckpointing: either(engine.activationCheckpointing, chosen.activationCheckpointing),
    },
  };
}

/**
 * Plans a run's memory before it starts, where it has a budget (`engine.memory`).
 *
 * @throws SpaError `OUT_OF_MEMORY` with the plan's explanation when the run cannot fit
 */
export function resolveMemory(config: Config, shape: ModelConfig): ResolvedConfig {
  if (config.engine.memory === null) return withMemorySettings(config);
  const plan = planMemory(config, shape, config.engine.memory);
  if (!plan.fits) throw doesNotFit(plan);
  return withMemorySettings(config, plan.settings);
}

/** Why a plan is refused. */
export function doesNotFit(plan: MemoryPlan): SpaError {
  const [worst] = [...plan.stages].sort((a, b) => b.peak - a.peak);
  const phase = [...worst.phases].sort((a, b) => b.total - a.total)[0];
  const { phase: name, total, ...parts } = phase;
  const listed = Object.entries(parts)
    .filter(([, bytes]) => bytes > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([part, bytes]) => `${part} ${formatSize(bytes)}`);
  const budget = `engine.memory = ${formatSize(plan.budget ?? 0)}, of which ${formatSize(plan.usable ?? 0)} can be planned with`;
  const message = `the run does not fit into ${budget}: ${worst.stage} takes ${formatSize(total)} while ${doing[name]} (${listed.join(", ")})`;
  return new SpaError("OUT_OF_MEMORY", message, { hint: wayOut(plan) });
}

/** Phases in words. */
export const doing = { update: "updating", sampling: "sampling", scoring: "scoring" };

/** What would fit where a plan does not. */
export function wayOut({ alternatives, needed }: MemoryPlan): string {
  const least = needed >= 1e9 ? `${Math.ceil(needed / 1e8) / 10}GB` : `${Math.ceil(needed / 1e6)}MB`;
  const memory = `engine.memory=${least} or more`;
  return alternatives.length > 0
    ? `these would fit: ${alternatives.join("; ")}; or ${memory}`
    : `it would take ${memory}, or a smaller model`;
}
