import { comparePolicies } from "../run/report/names.ts";
import type { Evaluation } from "../stages/evaluate.ts";
import { type Alignment, formatTable } from "./table.ts";

/** `.250`; a dash where a figure does not apply. */
export function share(value: number | null): string {
  return value === null || !Number.isFinite(value) ? "–" : value.toFixed(3).replace(/^0\./, ".");
}

function withInterval(value: number, [low, high]: readonly [number, number]): string {
  return `${share(value)} [${share(low)}, ${share(high)}]`;
}

/** The table that ends a run: a line a policy, with 95 % intervals over levels. */
export function resultsTable(evaluations: Record<string, Evaluation>): string {
  const entries = Object.entries(evaluations).sort(([left], [right]) => comparePolicies(left, right));
  const k = Math.min(8, ...entries.map(([, { samples }]) => samples));
  const header = [
    "policy",
    "Pass@1 [95 %]",
    ...(k > 1 ? [`Pass@${k} [95 %]`] : []),
    "format",
    "observation",
    "prediction",
    "prediction changed",
  ];
  const rows = entries.map(([policy, evaluation]) => [
    policy,
    withInterval(evaluation.passAt1, evaluation.ci95.passAt1),
    ...(k > 1 ? [withInterval(evaluation.passAt8, evaluation.ci95.passAt8)] : []),
    share(evaluation.formatRate),
    share(evaluation.observationAccuracy),
    share(evaluation.predictionAccuracy),
    share(evaluation.predictionAccuracyChanged),
  ]);
  const alignments: Alignment[] = header.map((_, column) => (column === 0 ? "left" : "right"));
  return formatTable(header, rows, alignments);
}
