import type { Command } from "commander";
import { Option } from "commander";
import { overrideConfig } from "../config/load.ts";
import { type ArmName, armNames, type Config } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import { withMemorySettings } from "../memory/resolve.ts";
import { runStage } from "../pipeline.ts";
import type { StageContext } from "../stages/context.ts";
import { type ScheduledStage, scheduleStages } from "../stages/schedule.ts";
import { lastRun, namedRun } from "./find-run.ts";
import { forgetStages } from "./forget-stages.ts";
import { ppoFromSessions } from "./from-sessions.ts";
import {
  addRunOptions,
  createRunFolder,
  type Request,
  type RunOptionValues,
  readRequest,
  refuseSettings,
  requestedConfig,
} from "./run-options.ts";
import { workInRun } from "./work.ts";

interface StageOptions extends RunOptionValues {
  fromSessions?: string;
  to?: string;
  arm?: ArmName;
  again?: boolean;
  data?: string;
}

type StageKind = ScheduledStage["kind"];

const commands: [command: string, kind: StageKind, description: string][] = [
  ["self-play", "self-play", "let the model play and make training data of it"],
  ["sft", "sft", "fine-tune on self-play's data"],
  ["ppo", "ppo", "train by PPO"],
  ["eval", "evaluate", "evaluate every policy that the run has so far"],
];

const help = `
Works in the run folder given by --run, else in the one started last, or, if a preset, a file or settings are given, in
a new one. Stages that come before and are not done are done first.

Examples:
  spa self-play nano-frozen-lake seed=2    a new run: base and self-play
  spa sft                                  go on with it
  spa sft --data wm_train.parquet          a new run on data that is there already
  spa ppo --arm control --run runs/first
  spa ppo --from-sessions sessions.jsonl --run runs/first --to models/next
  spa eval evaluation.split=tuning         evaluation settings may be changed`;

/** `spa self-play`, `spa sft`, `spa ppo` and `spa eval`. */
export function addStageCommands(program: Command, finish: (code: number) => void): void {
  for (const [name, kind, description] of commands) {
    const command = addRunOptions(program.command(name));
    if (kind === "sft") {
      command.option(
        "--data <file>",
        "Parquet file in SPA's columns to train on in place of self-play (a new run)",
      );
    }
    if (kind === "ppo") {
      command
        .option(
          "--from-sessions <file>",
          "train on sessions that spa serve has recorded, in place of episodes",
        )
        .option("--to <folder>", "with --from-sessions: the folder to write the model into");
    }
    command
      .description(`${description}, in a run folder`)
      .addOption(new Option("--arm <arm>", "only this arm").choices(armNames))
      .option("--again", "if the stage is done, forget it and what follows from it, and do it again")
      .addHelpText("after", help)
      .action(async (args: string[], options: StageOptions) => {
        const { fromSessions, run } = options;
        if (fromSessions === undefined) return finish(await stageCommand(kind, args, options));
        await ppoFromSessions(run ?? lastRun(), args, { ...options, fromSessions });
        finish(0);
      });
  }
}

async function stageCommand(kind: StageKind, args: string[], options: StageOptions): Promise<number> {
  const given = options.data === undefined ? [] : [`sft.data=${JSON.stringify(options.data)}`];
  const { folder, settings } = await findRun(kind, readRequest([...args, ...given]), options);
  return workInRun(folder, options, async (context) => {
    const config = withMemorySettings(overrideConfig(context.config, settings));
    await doStages({ ...context, config }, kind, options);
  });
}

/** The run folder to work in, made if it must be, and settings for this command alone. */
async function findRun(
  kind: StageKind,
  request: Request,
  options: StageOptions,
): Promise<{ folder: string; settings: string[] }> {
  const onlyEvaluation =
    kind === "evaluate" && request.settings.every((text) => text.startsWith("evaluation."));
  const isNew =
    options.run === undefined &&
    (request.source !== undefined || options.seed !== undefined || options.env !== undefined);
  if (isNew || (options.run === undefined && request.settings.length > 0 && !onlyEvaluation)) {
    const config = await requestedConfig(request, options);
    const run = await createRunFolder(config, options);
    return { folder: run.path, settings: [] };
  }
  const folder = options.run ?? lastRun();
  refuseSettings(onlyEvaluation ? { ...request, settings: [] } : request, options, folder);
  return { folder: namedRun(folder), settings: request.settings };
}

/** The planned stages of a kind (and arm), each with those that must be done before it. */
function stagesOf(config: Config, kind: StageKind, arm: ArmName | undefined): ScheduledStage[][] {
  const schedule = scheduleStages(config);
  return schedule
    .filter((stage) => stage.kind === kind && (arm === undefined || stage.arm === arm))
    .map((stage) => {
      const before = schedule.slice(0, schedule.indexOf(stage));
      const isNeeded = (other: ScheduledStage) => other.arm === undefined || other.arm === stage.arm;
      return [...before.filter((other) => other.kind !== "evaluate" && isNeeded(other)), stage];
    });
}

async function doStages(context: StageContext, kind: StageKind, options: StageOptions): Promise<void> {
  const { run, config } = context;
  const isDone = (stage: ScheduledStage) => run.stage(stage.id)?.state === "done";
  const all = stagesOf(config, kind, options.arm);
  // An evaluation asks no training of a run: what has not been trained is not evaluated.
  const chosen = kind === "evaluate" ? all.filter((stages) => stages.slice(0, -1).every(isDone)) : all;
  if (chosen.length === 0) {
    throw new SpaError(
      "BAD_ARGUMENT",
      `there is nothing to do: this run's arms are ${config.arms.join(", ") || "none"}`,
      {
        hint: "the arms of a run are chosen when it begins: arms=all",
      },
    );
  }
  for (const stages of chosen) {
    const last = stages.at(-1)!;
    const isOver = isDone(last) || run.stage(last.id)?.state === "skipped";
    if (isOver && options.again) forgetStages(run, scheduleStages(config), last.id);
    if (isDone(last)) context.progress.note(`${last.id} is done already; --again does it again`);
    for (const stage of stages) await runStage(context, stage);
  }
}
