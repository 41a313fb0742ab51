import { monitorEventLoopDelay } from "node:perf_hooks";
import { createTrainer } from "../lib/engine/trainer.ts";
import type { BenchContext, Measurement } from "./measurement.ts";
import { ppoStep } from "./training.ts";
import { sequenceBatch } from "./workload.ts";

/** Milliseconds between two looks at the clock. */
const resolution = 1;

/**
 * How late timers fire while PPO steps run one after the other: what a service in the same process would feel. The
 * histogram holds the time between two ticks of a 1 ms timer; the 1 ms is taken off.
 */
export async function benchEventLoop(context: BenchContext): Promise<Measurement[]> {
  const batch = sequenceBatch(context.sizes, context.model.config.vocabularySize);
  await using model = await context.model.clone();
  await using critic = await context.model.clone({ valueHead: true });
  await using trainer = createTrainer(model, { critic });
  await ppoStep(trainer, batch);
  const histogram = monitorEventLoopDelay({ resolution });
  histogram.enable();
  const until = performance.now() + (context.quick ? 500 : 5000);
  while (performance.now() < until) await ppoStep(trainer, batch);
  histogram.disable();
  const delay = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - resolution);
  return [
    { name: "event-loop delay while training, p50", unit: "ms", value: delay(histogram.percentile(50)) },
    { name: "event-loop delay while training, p99", unit: "ms", value: delay(histogram.percentile(99)) },
    { name: "event-loop delay while training, longest", unit: "ms", value: delay(histogram.max) },
  ];
}
