import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError, Option } from "commander";
import { SpaError } from "../errors.ts";
import { experiments } from "../experiments/definitions/index.ts";
import { describeArms } from "../experiments/describe-arms.ts";
import { estimateRuns, type PlannedCost } from "../experiments/estimate.ts";
import { findExperiment } from "../experiments/find-experiment.ts";
import type { ExperimentPlan, PlannedRun } from "../experiments/plan.ts";
import type { ExperimentResults } from "../experiments/results.ts";
import {
  type ExperimentOutcome,
  experimentsRoot,
  planUnder,
  type RootedRequest,
  runExperiment,
  writeOutcome,
} from "../experiments/run-experiment.ts";
import {
  differenceTable,
  distanceTable,
  perplexityTable,
  resultTable,
  settingsTable,
  shownKs,
  type Table,
  toMarkdown,
  tuningTable,
} from "../experiments/table.ts";
import { isDone } from "../experiments/train-runs.ts";
import { TUNING_SEED } from "../experiments/tuning.ts";
import { formatSize } from "../files/size.ts";
import { plannedDevice } from "../memory/plan.ts";
import { formatDuration, formatFigure } from "../run/progress.ts";
import { exitCodeOf } from "./exit-codes.ts";
import { interruptionCode, untilInterrupted } from "./interrupt.ts";
import { print, printError, printJson } from "./print.ts";
import { type ProgressOptionValues, progressFor } from "./progress-mode.ts";
import { environmentSettings, readRequest, showPath } from "./run-options.ts";
import { type Alignment, formatTable } from "./table.ts";

interface ExperimentOptionValues extends ProgressOptionValues {
  seeds?: number[];
  arms?: string[];
  tune?: string[];
  jobs?: number;
  root: string;
  env?: string;
  trust?: boolean;
  dryRun?: boolean;
  report?: boolean;
  markdown?: boolean;
  rate?: number;
}

const help = `
An experiment is a claim and the runs that show whether it holds: arms by seeds, over stages that arms share (a base, a world
model), which are trained once. Runs are ordinary run folders in <root>/runs, also shared between experiments; results.json,
report.html and figures/*.svg stand in <root>/<experiment>-<preset>. The same command goes on where it was stopped, and with
more seeds adds these.

Examples:
  spa experiment list                                   what there is, and what each claims
  spa experiment main                                   on FrozenLake, five seeds
  spa experiment main nano-sokoban --seeds 3 --jobs 2
  spa experiment mask --seeds 4,5 --arms response       only these seeds and this arm
  spa experiment main --tune ppo.optimizer.learningRate=1e-4,3e-4,1e-3
                                                        every arm with the best of three learning rates
  spa experiment main qwen2.5-1.5b-sokoban --dry-run    runs, tokens, memory and time
  spa experiment main --report                          the tables of what is done so far`;

/** `spa experiment`. */
export function addExperimentCommand(program: Command, finish: (code: number) => void): void {
  program
    .command("experiment")
    .description("train and compare the arms that a claim is about, over several seeds")
    .argument("<name>", "an experiment, a JavaScript file with one of your own, or list")
    .argument("[settings...]", "a preset or a .yaml file, and key=value settings of all its runs")
    .option("--seeds <seeds>", "how many (from 1 on), or which: 4,5,6 (one alone: 4,)", readSeeds)
    .option("--arms <arms>", "only these arms, and what they start from", (text) => text.split(","))
    .option(
      "--tune <setting=values>",
      "try every arm's PPO with each of these values, on tuning levels and another seed, and run it with the best; again for more settings: all combinations",
      (text, before: string[] = []) => [...before, text],
    )
    .option(
      "--jobs <number>",
      "runs at a time (default: one a core for nano models on the CPU, else 1)",
      readCount,
    )
    .option("--root <folder>", "where experiments stand", experimentsRoot)
    .option("--env <file>", "JavaScript module with an environment of your own")
    .option("--trust", "execute the environment module that the settings name")
    .option("--dry-run", "print the runs with what they take, and do nothing")
    .option("--rate <TFLOP/s>", "with --dry-run: the speed that its times are reckoned at", readRate)
    .option("--report", "gather what is done, and train nothing")
    .option("--markdown", "print the tables as Markdown")
    .option("-q, --quiet", "print nothing but the results")
    .addOption(
      new Option("--log <form>", "how progress is told").choices(["auto", "plain", "json"]).default("auto"),
    )
    .addHelpText("after", help)
    .action(async (name: string, settings: string[], options: ExperimentOptionValues) => {
      if (name === "list") print(describeAll());
      finish(name === "list" ? 0 : await experiment(name, settings, options));
    });
}

function readCount(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw new InvalidArgumentError("It must be a whole number from 1 on.");
}

/** `5` is seeds 1 to 5; `4,5` these two; `4,` seed 4 alone. */
function readSeeds(text: string): number[] {
  const parts = text.split(",").filter((part) => part !== "");
  const numbers = parts.map(Number);
  if (parts.length === 0 || numbers.some((seed) => !Number.isSafeInteger(seed) || seed < 0))
    throw new InvalidArgumentError("It must be how many, such as 5, or which, such as 4,5,6.");
  if (text.includes(",")) return [...new Set(numbers)];
  return Array.from({ length: readCount(text) }, (_, index) => index + 1);
}

function readRate(text: string): number {
  const rate = Number(text);
  if (rate > 0 && Number.isFinite(rate)) return rate;
  throw new InvalidArgumentError("It must be a number above 0.");
}

function describeAll(): string {
  return experiments
    .map(({ name, claim, source, about, preset, seeds }) =>
      [
        name,
        `  ${claim}`,
        `  Claimed in: ${source}.`,
        `  ${about}`,
        `  Unless told otherwise: ${preset}, ${seeds} seeds.`,
      ].join("\n"),
    )
    .join("\n\n");
}

async function experiment(name: string, args: string[], options: ExperimentOptionValues): Promise<number> {
  const { root, seeds, arms, tune, jobs, trust = false } = options;
  const { source, settings } = readRequest(args);
  const request: RootedRequest = {
    experiment: await findExperiment(name),
    source,
    settings: [...(await environmentSettings(options.env)), ...settings],
    seeds,
    arms,
    tune,
  };
  const plan = planUnder(root, request);
  if (options.dryRun) {
    print(await describePlan(plan, options));
    return 0;
  }
  if (options.report) {
    tell(plan.folder, writeOutcome(plan), options);
    return 0;
  }
  const notices = {
    first: () =>
      printError("stopping after the steps under way, which are saved; Ctrl-C again stops at once"),
    second: () => printError("stopped at once. The same command goes on"),
  };
  const progress = progressFor(options);
  const work = (signal: AbortSignal) =>
    runExperiment({ ...request, root, jobs: jobs ?? defaultJobs(plan), trust, signal, progress });
  try {
    return report(await untilInterrupted(notices, work), options);
  } catch (error) {
    const code = interruptionCode();
    if (code === undefined || !(error instanceof SpaError) || error.code !== "ABORTED") throw error;
    printError("stopped. The same command goes on; with --report it shows what is done so far");
    return code;
  }
}

/** Tells what an experiment has come to. @returns the exit code */
function report({ folder, results, failures }: ExperimentOutcome, options: ExperimentOptionValues): number {
  tell(folder, results, options);
  for (const [run, { code, message, hint }] of failures)
    printError(`${run} has failed: ${code}: ${message}${hint ? `\nhint: ${hint}` : ""}`);
  return worst([...failures.values()]);
}

function worst(failures: readonly SpaError[]): number {
  return Math.max(0, ...failures.map(exitCodeOf));
}

/** Runs at a time: a GPU holds one; on the CPU the runs of a nano model take a core each. */
function defaultJobs({ runs }: ExperimentPlan): number {
  const isNano = runs.every(({ shape, config }) => shape.kind === "nano" && plannedDevice(config) === "cpu");
  return isNano ? availableParallelism() : 1;
}

function tell(folder: string, results: ExperimentResults, { log, markdown }: ExperimentOptionValues): void {
  if (log === "json") {
    printJson({ event: "results", folder, ...results });
    return;
  }
  const ks = shownKs(results);
  const tables = [
    resultTable(results, ks),
    differenceTable(results, ks),
    distanceTable(results),
    perplexityTable(results),
    tuningTable(results),
  ];
  for (const table of tables.filter(({ rows }) => rows.length > 0))
    print(`\n${markdown ? toMarkdown(table) : formatted(table)}`);
  const { missing } = results;
  print(
    `\n${missing.length > 0 ? `${missing.length} runs are not done; ` : ""}report: ${showPath(`${folder}/report.html`)}; results: ${showPath(`${folder}/results.json`)}`,
  );
}

function formatted({ header, rows }: Table): string {
  const alignments: Alignment[] = header.map((_, column) => (column === 0 ? "left" : "right"));
  return formatTable(header, rows, alignments);
}

/** TFLOP/s that times are reckoned at where none is given: about what docs/performance.md has for a core, and a third of an H100's bfloat16. */
const usualRate = { core: 0.03, cuda: 300 };

/** What an experiment trains, and takes. */
async function describePlan(
  plan: ReturnType<typeof planUnder>,
  options: ExperimentOptionValues,
): Promise<string> {
  const costs = await estimateRuns(plan);
  const [{ config }] = plan.runs;
  const jobs = options.jobs ?? defaultJobs(plan);
  const cores = Math.min(jobs, availableParallelism());
  const rate = options.rate ?? (plannedDevice(config) === "cuda" ? usualRate.cuda : cores * usualRate.core);
  const sum = (part: ExperimentPlan, all: ReadonlyMap<PlannedRun, PlannedCost>) => {
    const total = sumOf([...all.values()].map(work));
    const left = sumOf(part.runs.filter((run) => !isDone(run)).map((run) => work(all.get(run)!)));
    return `${part.runs.length} runs, ${formatFigure(total / 1e12)} TFLOP, ${formatFigure(left / 1e12)} of them to be done: about ${formatDuration(left / 1e12 / rate)} with ${jobs} at a time, at ${formatFigure(rate)} TFLOP/s in all (--rate)`;
  };
  const { trials, tuning } = plan;
  const before = trials && [
    `before them trials of every arm, ${tuning?.candidates.length} each, with seed ${TUNING_SEED}: ${sum(trials, await estimateRuns(trials))}`,
  ];
  const memory = Math.max(...[...costs.values()].map((cost) => cost.memory.peak));
  const { header, rows } = settingsTable(describeArms(plan.arms));
  const alone = plan.runs.filter(({ seed }) => seed === plan.seeds[0]);
  return [
    `${plan.experiment.name}: ${plan.experiment.claim}`,
    plan.experiment.about,
    "",
    formatTable(header, rows),
    "",
    `Runs of seed ${plan.seeds[0]}; seeds: ${plan.seeds.join(", ")}. Estimates, from episodes of a random player:`,
    "",
    formatTable(
      ["run", "starts from", "tokens sampled", "tokens trained", "TFLOP", "time"],
      alone.map((run) => runRow(run, costs.get(run)!, rate / jobs)),
      ["left", "left", "right", "right", "right", "right"],
    ),
    "",
    sum(plan, costs),
    ...(before ?? []),
    `largest run: ${formatSize(memory)}, times ${jobs}`,
    `folder: ${showPath(plan.folder)}`,
  ].join("\n");
}

/** A run of the first seed: where it starts from, and what it takes. */
function runRow(run: PlannedRun, cost: PlannedCost, rate: number): string[] {
  const tokens = (count: number) => (count > 0 ? formatFigure(count) : "–");
  const operations = work(cost) / 1e12;
  return [
    run.name,
    run.after?.name ?? "–",
    tokens(cost.tokensSampled),
    tokens(cost.tokensTrained),
    formatFigure(operations),
    formatDuration(operations / rate),
  ];
}

function work({ operations }: PlannedCost): number {
  return sumOf([...operations.values()]);
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
