import { biLevelGae, gae, whiten } from "../lib/addon/advantage.ts";
import type { BenchContext, Measurement } from "./measurement.ts";
import { callsPerSecond } from "./timing.ts";
import { type SequenceBatch, sequenceBatch } from "./workload.ts";

/** Elements a second of the advantage estimators and of whitening, on a PPO step's 256 trajectories. */
export function benchAdvantages({ quick, model }: BenchContext): Measurement[] {
  const sizes = { rows: 0, promptTokens: 0, newTokens: 0, sequences: 256, shortest: 100, longest: 500 };
  const batch = sequenceBatch(sizes, model.config.vocabularySize);
  const { offsets, mask, oldValues: values, returns: rewards } = batch;
  const input = { offsets, mask, values, rewards, gamma: 0.99, lambda: 0.95 };
  const turnEnds = turnEndsOf(batch);
  const works: [string, () => void][] = [
    ["GAE", () => gae(input)],
    ["bi-level GAE", () => biLevelGae({ ...input, turnEnds, highLevelGamma: 0.95 })],
    ["whitening", () => whiten({ values: batch.advantages, mask })],
  ];
  return works.map(([name, work]) => ({
    name,
    unit: "elements/s",
    value: mask.length * callsPerSecond(work, quick ? 0.1 : 1),
  }));
}

/** Masked positions that are followed by an unmasked one or by another row. */
function turnEndsOf({ mask, offsets }: SequenceBatch): Uint32Array {
  const firsts = new Set(offsets);
  const positions = Array.from(mask.keys());
  return Uint32Array.from(positions.filter((k) => mask[k] === 1 && (mask[k + 1] !== 1 || firsts.has(k + 1))));
}
