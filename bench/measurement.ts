import type { Dtype } from "../lib/addon/addon.ts";
import type { Engine } from "../lib/engine/engine.ts";
import type { Model } from "../lib/engine/model.ts";
import type { Peer, PeerChoice, PeerTask } from "./peer.ts";
import { alternate, type ClockName, median, seconds } from "./timing.ts";
import type { WorkloadSizes } from "./workload.ts";

/** What a benchmark works with. */
export interface BenchContext {
  engine: Engine;
  model: Model;
  dtype: Dtype;
  sizes: WorkloadSizes;
  quick: boolean;
  /** Timed rounds, after one that warms up. */
  rounds: number;
  /** Present with --peers, where Python has PyTorch and transformers. */
  peer: Peer | undefined;
  clock: ClockName;
  /** FLOP per second of a large matrix product in this run, in the dtype of the model. */
  gemmRate: number;
}

/** One line of the result. */
export interface Measurement {
  name: string;
  unit: string;
  /** Median over the rounds. */
  value: number;
  /** The fastest round: what a quiet machine gives. */
  best?: number;
  /** Of the median round, and as a share of the GEMM rate. */
  flopsPerSecond?: number;
  gemmShare?: number;
  /** The same work by PyTorch and transformers, in rounds between those above. */
  peer?: PeerMeasurement;
}

interface PeerMeasurement {
  variant: string;
  value: number;
  best: number;
  /** Median of the engine over median of the peer. */
  ratio: number;
  tried: PeerChoice["tried"];
}

/** A piece of work that the engine and the peer both do. */
export interface Contest {
  name: string;
  unit: string;
  /** Units of one run. */
  amount: number;
  flops: number;
  /** Done before each run of the engine, outside the time taken. */
  prepare?: () => Promise<unknown>;
  /** One run of the engine. */
  run: () => Promise<unknown>;
  peerTask: PeerTask;
  peerBatch: object;
}

/** Times a contest, alternating with the peer where there is one. */
export async function measureContest(context: BenchContext, contest: Contest): Promise<Measurement> {
  const { peer, quick, rounds } = context;
  const choice = await peer?.choose(contest.peerTask, contest.peerBatch, quick);
  const contestants = [() => timeEngine(context, contest)];
  if (peer && choice) contestants.push(() => peer.run(contest.peerTask, choice.variant));
  const [times, peerTimes] = await alternate(contestants, rounds);
  await peer?.forget(contest.peerTask);
  const flopsPerSecond = contest.flops / median(times);
  const measurement: Measurement = {
    name: contest.name,
    unit: contest.unit,
    value: contest.amount / median(times),
    best: contest.amount / Math.min(...times),
    flopsPerSecond,
    gemmShare: flopsPerSecond / context.gemmRate,
  };
  if (choice) {
    measurement.peer = {
      variant: choice.variant,
      value: contest.amount / median(peerTimes),
      best: contest.amount / Math.min(...peerTimes),
      ratio: median(peerTimes) / median(times),
      tried: choice.tried,
    };
  }
  return measurement;
}

async function timeEngine({ clock }: BenchContext, { prepare, run }: Contest): Promise<number> {
  await prepare?.();
  return await seconds(run, clock);
}
