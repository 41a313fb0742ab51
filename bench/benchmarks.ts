import { benchAdvantages } from "./advantages.ts";
import { type BenchRow, benchEnvironmentSteps } from "./environment-steps.ts";
import { benchEventLoop } from "./event-loop.ts";
import { benchGemm } from "./gemm.ts";
import type { BenchContext, Measurement } from "./measurement.ts";
import { benchRollout } from "./rollout.ts";
import { benchSampling } from "./sampling.ts";
import { benchServing } from "./serving.ts";
import { benchPpo, benchScoring, benchSft } from "./training.ts";

export interface Benchmark {
  run: (context: BenchContext) => Promise<Measurement[]> | Measurement[];
  /** One line for --help. */
  about: string;
  /** Uses no engine thread: measured once, with the first number of threads. */
  singleThreaded?: boolean;
}

/** Every benchmark by its name on the command line, in the order in which they run. */
export const benchmarks: Readonly<Record<string, Benchmark>> = {
  gemm: { run: benchGemm, about: "FLOP rate of matrix products: a large one, and the nano model's" },
  sampling: {
    run: async (context) => [
      await benchSampling(context, false),
      ...(context.peer ? [await benchSampling(context, true)] : []),
    ],
    about: "256 rows of 30 prompt tokens and 70 new ones (LLM shapes: 32 of 200 and 64)",
  },
  serving: {
    run: benchServing,
    about: "the same prompts, replies of different lengths, over HTTP from 64 clients, and in a plain loop",
  },
  rollout: { run: benchRollout, about: "256 multi-turn episodes of FrozenLake, environments included" },
  "log-probs": {
    run: async (context) => [await benchScoring(context)],
    about: "scoring of 32 trajectories of 100 to 500 tokens (LLM shapes: 8 of 200 to 700)",
  },
  sft: { run: async (context) => [await benchSft(context)], about: "SFT updates on the same trajectories" },
  ppo: {
    run: async (context) => [await benchPpo(context)],
    about: "PPO updates of actor and critic on the same trajectories",
  },
  "event-loop": { run: benchEventLoop, about: "how late timers fire while PPO steps run" },
  advantages: { run: benchAdvantages, about: "GAE, bi-level GAE, whitening", singleThreaded: true },
  environments: {
    run: async () => (await benchEnvironmentSteps()).map(withDetail),
    about: "environment steps with the observation's text",
    singleThreaded: true,
  },
};

function withDetail({ name, unit, value, detail }: BenchRow): Measurement {
  return { name: detail ? `${name} (${detail})` : name, unit, value };
}
