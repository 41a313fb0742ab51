import { comparePolicies } from "../report/names.ts";
import { type Evaluations, type Interval, ksOf, rateAt } from "../run/evaluation.ts";
import { type Alignment, formatTable } from "./table.ts";

/** `.250`; a dash where a figure does not apply. */
export function share(value: number | null | undefined): string {
  return value === null || value === undefined || !Number.isFinite(value)
    ? "–"
    : value.toFixed(3).replace(/^0\./, ".");
}

function withInterval(value: number | undefined, interval: Interval | undefined): string {
  if (value === undefined || interval === undefined) return share(value);
  const [low, high] = interval;
  return `${share(value)} [${share(low)}, ${share(high)}]`;
}

/** The table that ends a run: a line a policy, with 95 % intervals over levels. */
export function resultsTable(evaluations: Evaluations): string {
  const entries = Object.entries(evaluations).sort(([left], [right]) => comparePolicies(left, right));
  const ks = ksOf(Object.values(evaluations));
  const header = [
    "policy",
    ...ks.map((k) => `Pass@${k} [95 %]`),
    "format",
    "observation",
    "prediction",
    "prediction changed",
  ];
  const rows = entries.map(([policy, evaluation]) => [
    policy,
    ...ks.map((k) => withInterval(rateAt(k, evaluation, evaluation), rateAt(k, evaluation, evaluation.ci95))),
    share(evaluation.formatRate),
    share(evaluation.observationAccuracy),
    share(evaluation.predictionAccuracy),
    share(evaluation.predictionAccuracyChanged),
  ]);
  const alignments: Alignment[] = header.map((_, column) => (column === 0 ? "left" : "right"));
  return formatTable(header, rows, alignments);
}
