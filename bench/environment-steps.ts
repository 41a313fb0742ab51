import { type BuiltInEnvironments, createEnvironment } from "../envs/index.ts";

/** One measured figure. */
export interface BenchRow {
  name: string;
  value: number;
  unit: string;
  detail?: string;
}

const SECONDS_PER_ROUND = 0.4;
const ROUNDS = 5;
const EPISODES = 512;
const STEPS_PER_EPISODE = 50;

/** Actions in a fixed, aimless order, drawn by a linear congruential generator. */
function aimlessActions(names: readonly string[], count: number): string[] {
  let state = 12345;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return names[(state >>> 16) % names.length];
  });
}

/**
 * Steps a second of one environment after another, the observation of every step read. Restarting the episodes is
 * outside the time taken.
 */
function stepsPerSecond<Name extends "frozen-lake" | "sokoban">(
  name: Name,
  options: BuiltInEnvironments[Name]["options"],
): number {
  const environments = Array.from({ length: EPISODES }, (_, seed) => {
    const environment = createEnvironment(name, options);
    environment.reset({ seed });
    return environment;
  });
  const starts = environments.map((environment) => environment.state());
  const actions = aimlessActions(environments[0].actions, 4096);
  let steps = 0;
  let characters = 0;
  let milliseconds = 0;
  const playAll = (): void => {
    for (const [index, environment] of environments.entries()) {
      environment.restore(starts[index]);
    }
    const begin = performance.now();
    for (const environment of environments) {
      for (let count = 0; count < STEPS_PER_EPISODE; count++) {
        const { observation, terminated } = environment.step(actions[steps++ & 4095]);
        // A string that is still a tree of parts is made flat by reading a character.
        characters += observation.charCodeAt(observation.length - 1);
        if (terminated) {
          break;
        }
      }
    }
    milliseconds += performance.now() - begin;
  };
  playAll();
  const rates = Array.from({ length: ROUNDS }, () => {
    steps = 0;
    milliseconds = 0;
    while (milliseconds < SECONDS_PER_ROUND * 1000) {
      playAll();
    }
    return (steps / milliseconds) * 1000;
  });
  if (characters === 0) {
    throw new Error("the observations were empty");
  }
  return rates.sort((left, right) => left - right)[Math.floor(ROUNDS / 2)];
}

/** Calls of `step()` a second on one core, for the environments that have a target figure. */
export async function benchEnvironmentSteps(): Promise<BenchRow[]> {
  const row = (name: string, value: number, detail: string): BenchRow => ({
    name,
    value,
    unit: "steps/s",
    detail,
  });
  return [
    row("frozen-lake step, firm", stepsPerSecond("frozen-lake", { slippery: false }), "4x4"),
    row("frozen-lake step, slippery", stepsPerSecond("frozen-lake", {}), "4x4, one draw of PCG64 a step"),
    row("sokoban step", stepsPerSecond("sokoban", {}), "6x6, one box"),
    row(
      "sokoban step, large",
      stepsPerSecond("sokoban", { rows: 10, columns: 10, boxes: 2, searchDepth: 30 }),
      "10x10, two boxes",
    ),
  ];
}
