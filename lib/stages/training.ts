import type { Config } from "../config/schema.ts";
import type { ScheduleOptions } from "../native/trainer.ts";

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
