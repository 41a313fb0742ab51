import { checkInteger } from "../addon/arguments.ts";
import { environmentFactory } from "../pipeline.ts";
import type { Level } from "../rollout/levels.ts";
import type { Evaluation } from "../run/evaluation.ts";
import { openEnvironments } from "../stages/context.ts";
import { evaluatePlay } from "../stages/evaluate/evaluate.ts";
import type { Agent } from "./agent.ts";

export interface EvaluatePolicyOptions {
  /** So many test (or tuning) levels, as the configuration draws them, or levels of one's own; by default as configured. */
  levels?: number | readonly Level[];
  /** Episodes a level; Pass@k is estimated for k up to this. By default `evaluation.samples`. */
  samples?: number;
  /** By default `evaluation.temperature`. */
  temperature?: number;
  /** Of the random streams and of the intervals' draws; by default the run's. */
  seed?: number;
  /** By default `evaluation.split`. */
  split?: "test" | "tuning";
  signal?: AbortSignal | undefined;
  /** Told how many episodes are finished. */
  onProgress?: (done: number, total: number) => void;
}

/**
 * Lets an agent play levels and says how often it solves them, with 95 % intervals over the levels: with the defaults the same
 * numbers as `spa eval` has for its policy.
 *
 * @param environment the name of a registered environment; by default the one that the agent was trained on
 * @throws SpaError UNKNOWN_NAME, BAD_CONFIG where there are not enough levels, BAD_ENVIRONMENT, CAPACITY, ABORTED
 */
export async function evaluatePolicy(
  agent: Agent,
  environment: string = agent.config.environment.name,
  options: EvaluatePolicyOptions = {},
): Promise<Evaluation> {
  const { signal, onProgress } = options;
  const { evaluation, environment: own } = agent.config;
  const split = options.split ?? evaluation.split;
  const other = { name: environment, options: {}, module: null, timeout: own.timeout };
  const config = { ...agent.config, environment: environment === own.name ? own : other };
  const samples = options.samples ?? evaluation.samples;
  if (typeof options.levels === "number") {
    const count = split === "test" ? "testLevels" : "tuningLevels";
    config.levels = { ...config.levels, [count]: checkInteger(options.levels, "levels", 1) };
  }
  const opened = await openEnvironments({ config, signal }, await environmentFactory(config));
  try {
    const levels = typeof options.levels === "object" ? options.levels : opened.split[split];
    const context = { config, environments: opened.environments, signal };
    const played = await evaluatePlay(context, agent.model, agent.protocol, {
      ...{ levels, split, onProgress, samples: checkInteger(samples, "samples", 1) },
      temperature: options.temperature ?? evaluation.temperature,
      seed: options.seed ?? config.seed,
      bootstrap: evaluation.bootstrap,
    });
    return played.evaluation;
  } finally {
    await opened.environments.close();
  }
}
