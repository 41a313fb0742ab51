import { formatSize } from "../files/size.ts";
import type { MeasuredPhase } from "../memory/measure.ts";
import type { MemoryPlan } from "../memory/plan.ts";
import { wayOut } from "../memory/resolve.ts";
import type { MemoryParts } from "../memory/stage-memory.ts";
import { type Alignment, formatTable } from "./table.ts";

const columns: [part: keyof MemoryParts, title: string][] = [
  ["weights", "weights"],
  ["gradients", "gradients"],
  ["master", "master"],
  ["moments", "moments"],
  ["cache", "KV cache"],
  ["activations", "activations"],
  ["logits", "logits"],
];

const devices = { cpu: "the CPU", cuda: "a GPU" };

/** A plan as a table of stages and what they do, with the settings under it. */
export function describePlan(plan: MemoryPlan): string {
  const size = (bytes: number) => (bytes === 0 ? "–" : formatSize(bytes));
  const rows = plan.stages.flatMap(({ stage, phases, peak }) =>
    phases.map((phase, index) => [
      index === 0 ? stage : "",
      phase.phase,
      ...columns.map(([part]) => size(phase[part])),
      `${size(phase.total)}${phase.total === peak ? " *" : "  "}`,
    ]),
  );
  const header = ["stage", "while", ...columns.map(([, title]) => title), "total  "];
  const alignments: Alignment[] = header.map((_, column) => (column < 2 ? "left" : "right"));
  return [formatTable(header, rows, alignments), "", ...verdict(plan), settingsLine(plan)].join("\n");
}

/** What phases were predicted to take beside what they took. */
export function describeMeasured(measured: readonly MeasuredPhase[]): string {
  const rows = measured.map(({ stage, phase, predicted, measured: taken, ranOut }, index) => [
    measured[index - 1]?.stage === stage ? "" : stage,
    phase,
    formatSize(predicted),
    ranOut ? `more than ${formatSize(taken)}` : formatSize(taken),
    ranOut ? "–" : (taken / predicted).toFixed(2),
  ]);
  const header = ["stage", "while", "predicted", "measured", "ratio"];
  return formatTable(header, rows, ["left", "left", "right", "right", "right"]);
}

function settingsLine({ settings }: MemoryPlan): string {
  const { microBatchTokens, rolloutSlots, activationCheckpointing, moments, dtype, lora } = settings;
  const parts = [
    `engine.dtype=${dtype}`,
    `engine.microBatchTokens=${microBatchTokens}`,
    `engine.rolloutSlots=${rolloutSlots}`,
    `engine.activationCheckpointing=${activationCheckpointing}`,
    `engine.moments=${moments}`,
    lora === null ? "lora=null" : `lora.rank=${lora.rank}`,
  ];
  return `with ${parts.join(" ")}`;
}

function verdict(plan: MemoryPlan): string[] {
  const peak = `memory about ${formatSize(plan.peak)} on ${devices[plan.device]}, at most (*)`;
  if (plan.budget === null) return [peak];
  const usable = `${formatSize(plan.usable ?? 0)} of ${formatSize(plan.budget)}, the rest for the device's own use and fragments`;
  if (plan.fits) return [`${peak}: fits (${usable})`];
  return [`${peak}: does not fit (${usable})`, wayOut(plan)];
}
