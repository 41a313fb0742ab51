import type { Command } from "commander";
import type { Config } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import { runStage } from "../pipeline.ts";
import { RunFolder } from "../run/run-folder.ts";
import { requireTrusted } from "../run/trust.ts";
import { scheduleStages } from "../stages/schedule.ts";
import { describeRun } from "./dry-run.ts";
import { lastRun, namedRun } from "./find-run.ts";
import { forgetStages } from "./forget-stages.ts";
import { print } from "./print.ts";
import {
  addRunOptions,
  createRunFolder,
  type RunOptionValues,
  readRequest,
  refuseSettings,
  requestedConfig,
} from "./run-options.ts";
import { workInRun } from "./work.ts";

interface TrainOptions extends RunOptionValues {
  resume?: string | true;
  redo?: string;
  dryRun?: boolean;
}

const help = `
Without arguments: preset nano-frozen-lake, in a new folder under runs/.

Examples:
  spa train nano-frozen-lake-single-turn seed=3
  spa train nano-frozen-lake "arms=[spa]" ppo.steps=20 ppo.optimizer.learningRate=1e-4
  spa train ./mine.yaml --name second-try
  spa train start=runs/first#spa/sft-2 environment.options.size=6   from what another run's stage ended with
  spa train --env ./my-game.mjs environment.options.size=5
  spa train --resume                       go on with the last run
  spa train --resume runs/second-try       go on with that one
  spa train --resume --redo spa/ppo        do a stage, and what follows from it, again
  spa train nano-sudoku --dry-run          print the configuration and an estimate of what it takes`;

/** `spa train`. */
export function addTrainCommand(program: Command, finish: (code: number) => void): void {
  addRunOptions(program.command("train"))
    .description("run the whole pipeline: base, self-play, SFT, PPO, the control arm, evaluation, report")
    .option("--resume [folder]", "go on with a run; without a folder: with the one started last")
    .option(
      "--redo <stage>",
      "with --resume: forget this stage and those that follow from it, and do them again",
    )
    .option("--dry-run", "print the resolved configuration and estimates, and do nothing")
    .addHelpText("after", help)
    .action(async (args: string[], options: TrainOptions) => finish(await train(args, options)));
}

async function train(args: string[], options: TrainOptions): Promise<number> {
  const request = readRequest(args);
  const existing = existingRun(options);
  if (existing !== undefined) {
    refuseSettings(request, options, existing);
    return options.dryRun ? dryRunOf(existing, options) : trainIn(existing, options);
  }
  if (options.redo !== undefined) {
    throw new SpaError("BAD_ARGUMENT", "--redo needs the run that it is about", {
      hint: "add --resume, or --resume <folder>",
    });
  }
  const config = await requestedConfig(request, options);
  if (options.dryRun) return dryRun(config);
  const run = await createRunFolder(config, options);
  return trainIn(run.path, options);
}

/** The run to go on with, if one is asked for. */
function existingRun({ resume, run }: TrainOptions): string | undefined {
  if (typeof resume === "string" && resume.includes("=")) {
    throw new SpaError("BAD_CONFIG", `${resume} cannot be given for an existing run`, {
      hint: "a run keeps the configuration that it began with; leave --resume out to start a new run",
    });
  }
  const named = typeof resume === "string" ? resume : run;
  return named !== undefined ? namedRun(named) : resume ? lastRun() : undefined;
}

async function trainIn(folder: string, options: TrainOptions): Promise<number> {
  return workInRun(folder, options, async (context) => {
    const stages = scheduleStages(context.config);
    if (options.redo !== undefined) forgetStages(context.run, stages, options.redo);
    for (const stage of stages) await runStage(context, stage);
  });
}

function dryRunOf(folder: string, options: TrainOptions): Promise<number> {
  const { config } = RunFolder.open(folder);
  if (!options.trust) requireTrusted(config.environment, folder);
  return dryRun(config);
}

async function dryRun(config: Config): Promise<number> {
  print(await describeRun(config));
  return 0;
}
