/** `cpu` counts processor time of all threads: on a busy machine it tells what one thread would take on a quiet one. */
export type ClockName = "wall" | "cpu";

const clocks: Record<ClockName, () => number> = {
  wall: () => Number(process.hrtime.bigint()) / 1e9,
  cpu: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  },
};

/** Seconds that `work` takes. */
export async function seconds(work: () => unknown, clock: ClockName): Promise<number> {
  const begin = clocks[clock]();
  await work();
  return clocks[clock]() - begin;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * Times several ways to do the same work in turn, so that a busy spell of the machine falls on all alike. Each gets one
 * run to warm up first.
 *
 * @returns for each contestant the seconds of its rounds
 */
export async function alternate(
  contestants: readonly (() => Promise<number>)[],
  rounds: number,
): Promise<number[][]> {
  for (const contestant of contestants) await contestant();
  const times: number[][] = contestants.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, contestant] of contestants.entries()) times[index].push(await contestant());
  }
  return times;
}

/** Calls per second of a synchronous `work`, run for at least `minimum` seconds after a warm-up of a tenth of that. */
export function callsPerSecond(work: () => void, minimum: number): number {
  repeatFor(work, minimum / 10);
  const { calls, elapsed } = repeatFor(work, minimum);
  return calls / elapsed;
}

function repeatFor(work: () => void, minimum: number): { calls: number; elapsed: number } {
  const begin = process.hrtime.bigint();
  for (let calls = 1; ; calls++) {
    work();
    const elapsed = Number(process.hrtime.bigint() - begin) / 1e9;
    if (elapsed >= minimum) return { calls, elapsed };
  }
}
