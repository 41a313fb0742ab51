// The process that measures: one for each number of threads, which is a process-wide setting. Its parent sends one
// request; it answers with one report.

import type { Dtype } from "../lib/addon/addon.ts";
import { addonInfo } from "../lib/addon/loader.ts";
import { Engine } from "../lib/engine/engine.ts";
import type { ModelConfig } from "../lib/formats/model-config.ts";
import { benchmarks } from "./benchmarks.ts";
import { largeGemmRate } from "./gemm.ts";
import type { Measurement } from "./measurement.ts";
import { type BenchModelName, benchModels, benchShape } from "./models.ts";
import { Peer, type PeerVersions } from "./peer.ts";
import type { ClockName } from "./timing.ts";

/** What the parent asks for. */
export interface WorkerRequest {
  model: BenchModelName;
  /** Fewer than the model's, for a quick look. */
  layers: number | undefined;
  threads: number;
  dtype: Dtype;
  names: string[];
  quick: boolean;
  peers: boolean;
  rounds: number;
  clock: ClockName;
  /** OMP_WAIT_POLICY as the user has set it: loading the addon changes it in this process. */
  waitPolicy: string | undefined;
}

/** What the worker answers. */
export interface WorkerReport {
  /** Whose shape was measured. */
  model: string;
  threads: number;
  dtype: Dtype;
  /** Instruction set of the package's kernels, and version of libtorch. */
  isa: string;
  libtorch: string;
  measurements: Measurement[];
  peer?: PeerVersions;
  /** Why there is no peer, though one was wanted. */
  peerMissing?: string;
}

export type WorkerMessage = { progress: string } | { report: WorkerReport } | { error: string };

async function measure(
  request: WorkerRequest,
  tell: (message: WorkerMessage) => void,
): Promise<WorkerReport> {
  const { threads, dtype, quick, rounds, clock } = request;
  await using engine = await Engine.create({ device: "cpu", threads, seed: 1 });
  const { shape, title } = benchShape(request.model, request.layers);
  const initialization = request.model === "nano" ? "nano" : "default";
  const model = await engine.createModel(shape, { dtype, initialization });
  const { isa, libtorch } = addonInfo();
  const report: WorkerReport = { model: title, threads, dtype, isa, libtorch, measurements: [] };
  const peer = request.peers ? await startPeer(model.config, request, report) : undefined;
  const gemmRate = await largeGemmRate(engine, dtype);
  const { sizes: fullSizes, quickSizes } = benchModels[request.model];
  const sizes = quick ? quickSizes : fullSizes;
  try {
    for (const name of request.names) {
      tell({ progress: `${threads} thread${threads > 1 ? "s" : ""}: ${name}` });
      const context = { engine, model, dtype, sizes, quick, rounds, peer, clock, gemmRate };
      report.measurements.push(...(await benchmarks[name].run(context)));
    }
    const { peak } = await engine.memory();
    report.measurements.push({ name: "peak memory of tensors", unit: "B", value: peak });
  } finally {
    await peer?.stop();
  }
  return report;
}

async function startPeer(
  config: ModelConfig,
  request: WorkerRequest,
  report: WorkerReport,
): Promise<Peer | undefined> {
  const peer = await Peer.start(config, request);
  if (typeof peer === "string") {
    report.peerMissing = peer;
    return undefined;
  }
  report.peer = peer.versions;
  return peer;
}

process.once("message", (request: WorkerRequest) => {
  const tell = (message: WorkerMessage) => process.send!(message);
  measure(request, tell)
    .then((report) => tell({ report }))
    .catch((error: Error) => tell({ error: error.stack ?? error.message }))
    .finally(() => process.disconnect());
});
