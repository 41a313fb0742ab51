import { join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { SpaError } from "../errors.ts";
import { comparePolicies } from "../report/names.ts";
import { allKsOf, type Evaluation, ksOf, rateAt } from "../run/evaluation.ts";
import { type Results, readResults } from "../run/results.ts";
import { namedRun } from "./find-run.ts";
import { print } from "./print.ts";
import { share } from "./results-table.ts";
import { showPath } from "./run-options.ts";

function resultsOf(folder: string): Results {
  const results = readResults(folder);
  if (results) return results;
  throw withoutResults(folder, join(folder, "results.json"));
}

/** Why there are no results: no such run, or none that has been evaluated. */
function withoutResults(folder: string, file: string): SpaError {
  const refuse = (reason: string, hint: string | undefined) =>
    new SpaError("BAD_CHECKPOINT", `${file} cannot be read: ${reason}`, { ...(hint && { hint }) });
  try {
    const run = showPath(namedRun(folder));
    return refuse("the run has no results yet", `evaluate it first: spa eval --run ${run}`);
  } catch (error) {
    return error instanceof SpaError ? refuse(error.message, error.hint) : refuse(String(error), undefined);
  }
}

type Rate = (evaluation: Evaluation) => number | null | undefined;

/** `.612 / .598 / .640`, one figure a run; a dash for a run without that policy. */
function overRuns(evaluations: readonly (Evaluation | undefined)[], rate: Rate): string {
  return evaluations.map((evaluation) => share(evaluation ? rate(evaluation) : null)).join(" / ");
}

function mean(evaluations: readonly (Evaluation | undefined)[], rate: Rate): string {
  const rates = evaluations.flatMap((evaluation) => (evaluation ? [rate(evaluation)] : []));
  const numbers = rates.filter((value) => typeof value === "number");
  return share(numbers.length === 0 ? null : numbers.reduce((sum, value) => sum + value, 0) / numbers.length);
}

/**
 * Several runs (seeds of one preset, say) side by side as a Markdown table: a line a policy, the figures of the runs in
 * the order in which they are given, and their mean in bold. Each k of Pass@k has a column of its own.
 *
 * @param asked the ks to show; by default 1 and each run's `passAtK`
 * @throws SpaError BAD_ARGUMENT for a k that no run has
 */
export function comparisonTable(runs: readonly Results[], asked?: readonly number[]): string {
  const policies = [...new Set(runs.flatMap(({ evaluations }) => Object.keys(evaluations)))];
  const all = runs.flatMap(({ evaluations }) => Object.values(evaluations));
  const ks = asked ?? ksOf(all);
  if (asked) checkKs(asked, all);
  const columns: [title: string, rate: Rate][] = [
    ...ks.map((k): [string, Rate] => [`Pass@${k}`, (evaluation) => rateAt(k, evaluation, evaluation)]),
    ["observation", ({ observationAccuracy }) => observationAccuracy],
    ["prediction", ({ predictionAccuracy }) => predictionAccuracy],
    ["prediction changed", ({ predictionAccuracyChanged }) => predictionAccuracyChanged],
  ];
  const lines = policies.sort(comparePolicies).map((policy) => {
    const evaluations = runs.map((run): Evaluation | undefined => run.evaluations[policy]);
    const cells = columns.map(
      ([, rate]) => `**${mean(evaluations, rate)}** (${overRuns(evaluations, rate)})`,
    );
    return `| ${[policy, ...cells].join(" | ")} |`;
  });
  const header = ["policy", ...columns.map(([title]) => title)];
  return [`| ${header.join(" | ")} |`, `|${" --- |".repeat(header.length)}`, ...lines].join("\n");
}

function checkKs(ks: readonly number[], evaluations: readonly Evaluation[]): void {
  const known = [...new Set(evaluations.flatMap(allKsOf))].sort((left, right) => left - right);
  const missing = ks.find((k) => !known.includes(k));
  if (missing === undefined) return;
  throw new SpaError("BAD_ARGUMENT", `--pass-at ${missing}: none of the runs has Pass@${missing}`, {
    hint: `they have it for k = ${known.join(", ")}; evaluation.samples decides up to which k`,
  });
}

function readKs(text: string): number[] {
  const ks = text.split(",").map(Number);
  if (ks.every((k) => Number.isSafeInteger(k) && k > 0)) return ks;
  throw new InvalidArgumentError("It must be whole numbers from 1 on, such as 1,2,4,8.");
}

/** `spa compare`. */
export function addCompareCommand(program: Command, finish: (code: number) => void): void {
  program
    .command("compare")
    .description("print the results of several runs side by side, as Markdown: **mean** (run / run / …)")
    .argument("<runs...>", "run folders")
    .option("--pass-at <k,…>", "show Pass@k for these k, such as 1,2,4,8", readKs)
    .action((folders: string[], { passAt }: { passAt?: number[] }) => {
      print(comparisonTable(folders.map(resultsOf), passAt));
      finish(0);
    });
}
