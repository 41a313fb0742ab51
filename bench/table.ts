import { type Alignment, formatTable } from "../lib/cli/table.ts";
import type { Measurement } from "./measurement.ts";
import type { WorkerReport } from "./worker.ts";

const prefixes: readonly [number, string][] = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];

/** `25431` tokens/s -> `25.4k`. */
function formatRate(value: number): string {
  const [factor, prefix] = prefixes.find(([size]) => value >= size) ?? [1, ""];
  const scaled = value / factor;
  return `${scaled.toFixed(scaled >= 100 || (factor === 1 && Number.isInteger(value)) ? 0 : scaled >= 10 ? 1 : 2)}${prefix}`;
}

const columns = [
  "benchmark",
  "median",
  "best",
  "unit",
  "FLOP/s",
  "of GEMM",
  "peer",
  "best",
  "ratio",
  "peer's way",
];
const words = ["benchmark", "unit", "peer's way"];
const alignments = columns.map((column): Alignment => (words.includes(column) ? "left" : "right"));

/** One table for each number of threads. */
export function formatReports(reports: readonly WorkerReport[]): string {
  return reports.map(formatReport).join("\n");
}

function formatReport(report: WorkerReport): string {
  const { model, threads, dtype, isa, libtorch, peer, peerMissing } = report;
  const peerLine = peer
    ? `peer: torch ${peer.torch}, transformers ${peer.transformers}, Python ${peer.python}`
    : peerMissing && `no peer: ${peerMissing}`;
  const head = `${model}, ${threads} thread${threads > 1 ? "s" : ""}, ${dtype}, ${isa} kernels, libtorch ${libtorch}`;
  const withPeer = report.measurements.some((measurement) => measurement.peer);
  const shown = withPeer ? columns : columns.slice(0, 6);
  const rows = report.measurements.map((measurement) => cells(measurement).slice(0, shown.length));
  const table = formatTable(shown, rows, alignments);
  return [head, ...(peerLine ? [peerLine] : []), table, ""].join("\n");
}

function cells({ name, unit, value, best, flopsPerSecond, gemmShare, peer }: Measurement): string[] {
  return [
    name,
    formatRate(value),
    best === undefined ? "" : formatRate(best),
    unit,
    flopsPerSecond === undefined ? "" : formatRate(flopsPerSecond),
    gemmShare === undefined ? "" : `${(100 * gemmShare).toFixed(0)} %`,
    peer ? formatRate(peer.value) : "",
    peer ? formatRate(peer.best) : "",
    peer ? `${peer.ratio.toFixed(2)}x` : "",
    peer?.variant ?? "",
  ];
}
