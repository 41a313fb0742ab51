import { type Alignment, formatTable } from "./table.ts";

/** One policy's evaluation, as it stands in results.json. Shares from 0 to 1; null where it does not apply. */
export interface EvaluationResult {
  passAt1: number;
  ci95: Record<string, [low: number, high: number]>;
  formatRate: number | null;
  observationAccuracy: number | null;
  predictionAccuracy: number | null;
  predictionAccuracyChanged: number | null;
  levels: number;
  samples: number;
  /** passAt8 (or another k, where fewer samples were taken) beside other figures. */
  [figure: string]: unknown;
}

/** Policies in the order in which the method makes them; others follow in their own order. */
const order = ["random", "base", "baseWorldModel", "sft", "control", "formatOnly", "spa"];

function rank(policy: string): number {
  const index = order.indexOf(policy);
  return index < 0 ? order.length : index;
}

/** `.250`; a dash where there is no figure. */
function share(value: unknown): string {
  return typeof value === "number" && Number.isFinite(value) ? value.toFixed(3).replace(/^0\./, ".") : "–";
}

function withInterval(evaluation: EvaluationResult, figure: string): string {
  const interval = evaluation.ci95?.[figure];
  return interval ? `${share(evaluation[figure])} [${share(interval[0])}, ${share(interval[1])}]` : share(evaluation[figure]);
}

/** The largest k of a passAt<k> figure. */
function largestK(evaluations: EvaluationResult[]): number {
  const ks = evaluations.flatMap((evaluation) => Object.keys(evaluation).map((key) => /^passAt(\d+)$/.exec(key)?.[1]));
  return Math.max(1, ...ks.map((k) => Number(k ?? 1)));
}

/** The table that ends a run: a line a policy, with 95 % intervals over levels. */
export function resultsTable(evaluations: Record<string, EvaluationResult>): string {
  const entries = Object.entries(evaluations).sort(([left], [right]) => rank(left) - rank(right));
  const k = largestK(entries.map(([, evaluation]) => evaluation));
  const pass = k > 1 ? ["passAt1", `passAt${k}`] : ["passAt1"];
  const header = [
    "policy",
    ...pass.map((figure) => `${figure.replace("passAt", "Pass@")} [95 %]`),
    "format",
    "observation",
    "prediction",
    "prediction changed",
  ];
  const rows = entries.map(([policy, evaluation]) => [
    policy,
    ...pass.map((figure) => withInterval(evaluation, figure)),
    share(evaluation.formatRate),
    share(evaluation.observationAccuracy),
    share(evaluation.predictionAccuracy),
    share(evaluation.predictionAccuracyChanged),
  ]);
  const alignments: Alignment[] = header.map((_, column) => (column === 0 ? "left" : "right"));
  return formatTable(header, rows, alignments);
}
