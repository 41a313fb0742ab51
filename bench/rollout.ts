import { createEnvironment } from "../envs/index.ts";
import { loadConfig } from "../lib/config/load.ts";
import { collect } from "../lib/rollout/collector.ts";
import { EnvironmentPool } from "../lib/rollout/environment-pool.ts";
import { LevelStream } from "../lib/rollout/levels.ts";
import { playsOf } from "../lib/rollout/player.ts";
import { sampledTokens } from "../lib/rollout/trajectory.ts";
import { TurnProtocol } from "../lib/rollout/turn-protocol.ts";
import { nanoTokenizer } from "../lib/text/nano-tokenizer.ts";
import type { BenchContext, Measurement } from "./measurement.ts";
import { median, seconds } from "./timing.ts";

/**
 * Sampled tokens a second of a PPO step's collection: 32 groups of 8 episodes of FrozenLake with the preset's limits,
 * prompts, parsing and environments included. The weights are random, so replies run to the limit of 110 tokens and no
 * episode ends early.
 */
export async function benchRollout(context: BenchContext): Promise<Measurement[]> {
  const { model, quick, rounds, clock } = context;
  const config = loadConfig("nano-frozen-lake");
  const { name, options } = config.environment;
  const create = () => createEnvironment(name, options);
  const protocol = new TurnProtocol(nanoTokenizer(), config.protocol, "world-model");
  const levels = await new LevelStream(create(), config.levels.trainSeed).take(quick ? 4 : 32);
  const plays = playsOf(levels, 8);
  const environments = new EnvironmentPool(create);
  let sampled = 0;
  const run = async () => {
    const slots = plays.length;
    const trajectories = await collect({
      model,
      protocol,
      environments,
      plays,
      temperature: 1,
      slots,
      seed: 1,
    });
    sampled = sampledTokens(trajectories);
  };
  await run();
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) times.push(await seconds(run, clock));
  const [value, best] = [median(times), Math.min(...times)].map((time) => sampled / time);
  return [{ name: "collection of multi-turn episodes", unit: "tokens/s", value, best }];
}
