import type { Config } from "../config/schema.ts";
import type { ScheduleOptions, TrainerOptions } from "../engine/trainer.ts";
import type { ResolvedConfig } from "../memory/resolve.ts";
import type { StepMetrics } from "../metrics/step-metrics.ts";
import type { Progress } from "../run/progress.ts";

/** Updates between two lines of metrics in stages of many small updates. */
const LOGGED_EVERY = 10;

/** Whether an update of the base or SFT stage is logged. */
export function isLogged(step: number, total: number): boolean {
  return step === 1 || step === total || step % LOGGED_EVERY === 0;
}

/** A schedule whose warm-up is a share of the steps, as the trainer takes it. */
export function trainerSchedule(schedule: Config["sft"]["schedule"], totalSteps: number): ScheduleOptions {
  const warmupSteps = Math.min(Math.round(schedule.warmup * totalSteps), totalSteps - 1);
  return { kind: schedule.kind, warmupSteps, totalSteps, minimumRatio: schedule.minimumRatio };
}

/** Tokens over the seconds since `begin`, a time of `performance.now()`. */
export function tokensPerSecond(tokens: number, begin: number): number {
  return Math.round(tokens / Math.max((performance.now() - begin) / 1000, 1e-6));
}

/** What a run's configuration says about the memory of its trainers. */
export function memorySettings({
  microBatchTokens,
  activationCheckpointing,
  moments,
}: ResolvedConfig["engine"]): TrainerOptions {
  return { microBatchTokens, activationCheckpointing, moments };
}

/** Tells the user when a stage goes on in smaller micro-batches, for memory ran out. */
export class MicroBatchWatch {
  readonly #progress: Progress;
  readonly #stage: string;
  #seen: number | undefined;

  constructor(progress: Progress, stage: string) {
    this.#progress = progress;
    this.#stage = stage;
  }

  see(step: number, { microBatchTokens }: Pick<StepMetrics, "microBatchTokens">): void {
    if (microBatchTokens === undefined || microBatchTokens === this.#seen) return;
    this.#seen = microBatchTokens;
    this.#progress.note(
      `${this.#stage}, step ${step}: memory ran out; going on with micro-batches of ${microBatchTokens} tokens (spa plan says what fits)`,
    );
  }
}
