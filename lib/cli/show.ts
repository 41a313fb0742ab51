import { type Command, InvalidArgumentError } from "commander";
import { SpaError } from "../errors.ts";
import { didYouMean } from "../nearest-name.ts";
import { formatTrajectory } from "../report/trajectory-text.ts";
import { viewTrajectory } from "../report/trajectory-view.ts";
import { RunFolder } from "../run/run-folder.ts";
import type { TrajectoryEntry } from "../run/trajectory-log.ts";
import { visibleLine } from "../visible-text.ts";
import { lastRun, namedRun } from "./find-run.ts";
import { printPainted } from "./print.ts";
import { showPath } from "./run-options.ts";
import { formatTable } from "./table.ts";

interface ShowOptions {
  stage?: string;
  step?: number;
  index?: number;
  list?: boolean;
}

const help = `
Without --stage: which stages have trajectories. With --stage: the first one of the stage's last step.

Examples:
  spa show
  spa show --stage evaluate/spa --list          a line for each trajectory
  spa show --stage evaluate/spa --index 3
  spa show runs/first --stage spa/ppo --step 20 --index 1 | less -R

Colours are the roles of the tokens (docs/protocol.md); NO_COLOR=1 turns them off, FORCE_COLOR=1 keeps them in a pipe.`;

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError("It must be a whole number, 0 or more.");
  return value;
}

/** `spa show`. */
export function addShowCommand(program: Command, finish: (code: number) => void): void {
  program
    .command("show")
    .description("print trajectories of a run, turn by turn")
    .argument("[run]", "the run folder (default: the one started last)")
    .option("--stage <id>", "the stage, e.g. spa/ppo or evaluate/spa")
    .option("--step <number>", "the step of the stage (default: the last that was logged)", wholeNumber)
    .option("--index <number>", "which trajectory of the step, from 0 on", wholeNumber)
    .option("--list", "a line for each trajectory of the step")
    .addHelpText("after", help)
    .action((folder: string | undefined, options: ShowOptions) => {
      printPainted(
        show(
          RunFolder.open(folder === undefined ? lastRun() : namedRun(folder)),
          options,
          colorWanted(process.env, process.stdout.isTTY),
        ),
      );
      finish(0);
    });
}

/** Whether to paint, by the customs of NO_COLOR and FORCE_COLOR. */
export function colorWanted(env: NodeJS.ProcessEnv, isTerminal: boolean | undefined): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR && env.FORCE_COLOR !== "0") return true;
  return isTerminal === true && env.TERM !== "dumb";
}

/**
 * What `spa show` prints.
 *
 * @throws SpaError UNKNOWN_NAME for a stage that has no trajectories, BAD_ARGUMENT for a step or index that was not logged
 */
export function show(run: RunFolder, options: ShowOptions, color: boolean): string {
  if (options.stage === undefined) return overview(run);
  const rows = trajectoriesOf(run, options.stage);
  const steps = [...new Set(rows.map(({ step }) => step))].sort((left, right) => left - right);
  const step = options.step ?? steps[steps.length - 1];
  if (!steps.includes(step)) {
    throw new SpaError("BAD_ARGUMENT", `${options.stage} has no trajectories of step ${step}`, {
      hint: `logged steps: ${describeSteps(steps)}`,
    });
  }
  const found = rows.filter((row) => row.step === step);
  if (options.list) return list(found);
  const index = options.index ?? 0;
  const entry = found[index];
  if (!entry) {
    throw new SpaError("BAD_ARGUMENT", `step ${step} of ${options.stage} has no trajectory ${index}`, {
      hint: `${found.length} were logged: --index 0 to ${found.length - 1}`,
    });
  }
  const title = `${run.name}  ${options.stage}  step ${step}  trajectory ${index} of ${found.length}`;
  const trajectory = run.trajectories(options.stage).at(entry);
  return formatTrajectory(viewTrajectory(trajectory, run.config.protocol.traceState), title, { color });
}

function trajectoriesOf(run: RunFolder, stage: string): readonly TrajectoryEntry[] {
  const stages = run.stagesWithTrajectories();
  const rows = stages.includes(stage) ? run.trajectories(stage).index() : [];
  if (rows.length > 0) return rows;
  const guess = stages.includes(stage) ? "" : didYouMean(stage, stages);
  throw new SpaError("UNKNOWN_NAME", `${run.name} has no trajectories of a stage "${stage}"${guess}`, {
    hint: stages.length > 0 ? `stages: ${stages.join(", ")}` : "no stage of this run has logged any yet",
  });
}

function overview(run: RunFolder): string {
  const rows = run.stagesWithTrajectories().map((stage) => {
    const found = run.trajectories(stage).index();
    const steps = [...new Set(found.map(({ step }) => step))].sort((left, right) => left - right);
    const solved = found.filter(({ success }) => success).length;
    return [stage, String(found.length), String(solved), describeSteps(steps)];
  });
  const path = visibleLine(showPath(run.path));
  if (rows.length === 0) return `${path}: no trajectories yet`;
  const table = formatTable(["stage", "logged", "solved", "steps"], rows, ["left", "right", "right", "left"]);
  const example = `spa show ${path} --stage ${visibleLine(rows[rows.length - 1][0])}`;
  return `${path}\n\n${table}\n\nlook at one with: ${example}`;
}

/** `1, 2, 3` or `1 … 50 (50 steps)`. */
function describeSteps(steps: readonly number[]): string {
  if (steps.length <= 5) return steps.join(", ");
  return `${steps[0]} … ${steps[steps.length - 1]} (${steps.length} steps)`;
}

function list(trajectories: readonly TrajectoryEntry[]): string {
  const rows = trajectories.map(({ seed, distance, turns, totalReward, success, finish }, index) => [
    String(index),
    String(seed),
    distance === null ? "–" : String(distance),
    String(turns),
    totalReward.toFixed(2),
    success ? "yes" : "no",
    finish,
  ]);
  const header = ["index", "level seed", "distance", "turns", "reward", "solved", "ended"];
  return formatTable(header, rows, ["right", "right", "right", "right", "right", "left", "left"]);
}
