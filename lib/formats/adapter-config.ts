import type { NativeAdapter } from "../addon/addon.ts";
import {
  badArgument,
  checkBoolean,
  checkInteger,
  checkNumber,
  checkObject,
  checkOneOf,
} from "../addon/arguments.ts";
import type { ModelConfig } from "./model-config.ts";

/** The projections of a layer that an adapter may change, by Hugging Face's names. */
export const adapterTargets = [
  "q_proj",
  "k_proj",
  "v_proj",
  "o_proj",
  "gate_proj",
  "up_proj",
  "down_proj",
] as const;

export type AdapterTarget = (typeof adapterTargets)[number];

/** A low-rank adapter (LoRA; Hu et al. 2021, arXiv:2106.09685): y = W x + scale * B A x with a frozen W. */
export interface AdapterSettings {
  /** Rows of A and columns of B. */
  rank: number;
  /** The scale is alpha / rank. */
  alpha: number;
  /** Share of the adapter's inputs that training leaves out. */
  dropout: number;
  targets: readonly AdapterTarget[];
  /** The scale is alpha / sqrt(rank) (Kalajdzievski 2023, arXiv:2312.03732). */
  rankStabilized: boolean;
}

/** What a new adapter must be told, and what has defaults (see {@link completeAdapter}). */
export type AdapterInput = Pick<AdapterSettings, "rank" | "alpha"> & Partial<AdapterSettings>;

/** Keys of {@link AdapterSettings}, for checks of unknown keys. */
export const adapterKeys = ["rank", "alpha", "dropout", "targets", "rankStabilized"] as const;

/**
 * Fills in what `input` leaves out and checks everything: no dropout, all seven projections, scale alpha / rank.
 * Targets come back in their usual order.
 *
 * @throws SpaError `BAD_ARGUMENT` naming the field.
 */
export function completeAdapter(input: AdapterInput): AdapterSettings {
  checkObject(input, "adapter");
  const named = input.targets ?? adapterTargets;
  if (!Array.isArray(named) || named.length === 0) {
    throw badArgument(
      "adapter.targets must name at least one projection",
      `known: ${adapterTargets.join(", ")}`,
    );
  }
  const targets = named.map((name, i) => checkOneOf(name, `adapter.targets[${i}]`, adapterTargets));
  return {
    rank: checkInteger(input.rank, "adapter.rank", 1, 2 ** 16),
    // The scale must be a float32 number.
    alpha: checkNumber(input.alpha, "adapter.alpha", { above: 0, atMost: 2 ** 127 }),
    dropout: checkNumber(input.dropout ?? 0, "adapter.dropout", { atLeast: 0, below: 1 }),
    targets: adapterTargets.filter((target) => targets.includes(target)),
    rankStabilized: checkBoolean(input.rankStabilized ?? false, "adapter.rankStabilized"),
  };
}

/** What the engine works with. */
export function nativeAdapter({
  rank,
  alpha,
  dropout,
  targets,
  rankStabilized,
}: AdapterSettings): NativeAdapter {
  return {
    rank,
    scale: alpha / (rankStabilized ? Math.sqrt(rank) : rank),
    dropout,
    targets: adapterTargets.map((target) => targets.includes(target)),
  };
}

/** Numbers of elements that an adapter adds to a model. */
export interface AdapterSize {
  /** Of A and B in all layers; also of its gradient, of each moment, and with bfloat16 of its master weights. */
  parameters: number;
  /** The same by target. */
  byTarget: Partial<Record<AdapterTarget, number>>;
  /** Activations per token, in all layers, that a training pass keeps beside those of the backbone. */
  activationsPerToken: number;
}

/** Inputs and outputs of the projections that an adapter may change. */
function targetFeatures(config: ModelConfig): Record<AdapterTarget, { inputs: number; outputs: number }> {
  const { hiddenSize: hidden, intermediateSize: inner, headDimension } = config;
  const query = config.heads * headDimension;
  const keyValue = config.keyValueHeads * headDimension;
  return {
    q_proj: { inputs: hidden, outputs: query },
    k_proj: { inputs: hidden, outputs: keyValue },
    v_proj: { inputs: hidden, outputs: keyValue },
    o_proj: { inputs: query, outputs: hidden },
    gate_proj: { inputs: hidden, outputs: inner },
    up_proj: { inputs: hidden, outputs: inner },
    down_proj: { inputs: inner, outputs: hidden },
  };
}

/** Counts an adapter's elements; a value head adds `hiddenSize + 1` parameters. */
export function adapterSize(
  config: ModelConfig,
  { rank, targets }: Pick<AdapterSettings, "rank" | "targets">,
): AdapterSize {
  const { layers } = config;
  const features = targetFeatures(config);
  const elements = (target: AdapterTarget) =>
    layers * rank * (features[target].inputs + features[target].outputs);
  const byTarget = Object.fromEntries(targets.map((target) => [target, elements(target)]));
  const parameters = Object.values(byTarget).reduce((sum, count) => sum + count, 0);
  return { parameters, byTarget, activationsPerToken: layers * rank * targets.length };
}
