import { Command, CommanderError } from "commander";
import { firstFailure, SpaError } from "../errors.ts";
import { fileError } from "../files/file-error.ts";
import { packageVersion } from "../package.ts";
import { visibleText } from "../visible-text.ts";
import { addCompareCommand } from "./compare.ts";
import { addDoctorCommand } from "./doctor.ts";
import { addDownloadCommand } from "./download.ts";
import { addEnvironmentCommand } from "./environment-check.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";
import { addExperimentCommand } from "./experiment.ts";
import { addExportCommand } from "./export.ts";
import { interruptionCode } from "./interrupt.ts";
import { codeWithOutput, guardOutput } from "./output.ts";
import { addPerplexityCommand } from "./perplexity.ts";
import { addPlanCommand } from "./plan.ts";
import { addPlayCommand } from "./play.ts";
import { addPresetsCommand } from "./presets.ts";
import { printError } from "./print.ts";
import { addReportCommand } from "./report.ts";
import { describeError } from "./report-error.ts";
import { addServeCommand } from "./serve.ts";
import { addShowCommand } from "./show.ts";
import { addStageCommands } from "./stage-commands.ts";
import { addTrainCommand } from "./train.ts";
import { addWatchCommand } from "./watch.ts";

export { endProcess } from "./end-process.ts";

const examples = `
Examples:
  spa train                                       both arms on FrozenLake 4x4, evaluation, report
  spa train nano-sokoban seed=2 ppo.steps=20      another preset, some settings changed
  spa train ./mine.yaml --dry-run                 what would run, and what it would take
  spa plan --memory 24GB                          what every stage takes, and settings that fit
  spa env check ./mine.mjs                        is my environment right?
  spa train --resume                              go on with the last run
  spa show                                        the trajectories of the last run
  spa report                                      write the last run's report.html as far as it has come
  spa play --level 130 --human                    the last run's policy against you
  spa serve runs/a --port 8000                    its policy over OpenAI's HTTP API
  spa watch                                       a local page that follows runs while they work
  spa compare runs/a runs/b                       results of several runs side by side
  spa experiment main                             a claim of the paper: arms, seeds, tables with intervals
  spa perplexity --run runs/a                     how well its models foretell states, before and after SFT
  spa export runs/a --to models/a                 the trained model, for transformers and vLLM
  spa download Qwen/Qwen2.5-1.5B-Instruct         fetch a model, to train with model=<id>
  spa doctor                                      is everything installed?

Exit codes:
${exitCodes.map(([code, meaning]) => `  ${String(code).padEnd(4)} ${meaning}`).join("\n")}

Variables: LIBTORCH (folder of a libtorch to use), SPA_CACHE (where set-up keeps what it builds), HF_HOME, HF_TOKEN,
HF_HUB_OFFLINE (spa download --help), SPA_DEBUG=1 (stack traces)`;

function createProgram(finish: (code: number) => void): Command {
  const program = new Command("spa")
    .description("Train LLM agents with SPA: self-play data, world-model fine-tuning, PPO.")
    .version(packageVersion())
    .addHelpText("after", examples)
    .showHelpAfterError("(spa --help lists commands and options)")
    .configureOutput({
      writeOut: (text) => process.stdout.write(visibleText(text)),
      writeErr: (text) => process.stderr.write(visibleText(text)),
    })
    .exitOverride();
  addTrainCommand(program, finish);
  addStageCommands(program, finish);
  addShowCommand(program, finish);
  addReportCommand(program, finish);
  addPlayCommand(program, finish);
  addServeCommand(program, finish);
  addWatchCommand(program, finish);
  addCompareCommand(program, finish);
  addExperimentCommand(program, finish);
  addPerplexityCommand(program, finish);
  addExportCommand(program, finish);
  addPlanCommand(program, finish);
  addEnvironmentCommand(program, finish);
  addPresetsCommand(program, finish);
  addDownloadCommand(program, finish);
  addDoctorCommand(program, finish);
  program
    .command("setup")
    .description("fetch libtorch and build the native addon (in a clone: npm run setup)");
  for (const command of program.commands) command.showHelpAfterError(afterError(command));
  return program;
}

/** What follows a complaint about a command's options and arguments. */
function afterError(command: Command): string {
  const takesSettings = command.registeredArguments.some((argument) => argument.name() === "settings");
  const settings = takesSettings ? "settings are written key=value: ppo.steps=10; " : "";
  return `(${settings}spa ${command.name()} --help lists what it takes)`;
}

/** The arguments, or the unknown command among them alone: with --help beside it commander would pass over it. */
function withoutHelp(argv: readonly string[], program: Command): string[] {
  const [first, second] = argv.filter((text) => !text.startsWith("-"));
  const named = first === "help" ? second : first;
  const isKnown = program.commands.some((command) => command.name() === named);
  return named === undefined || named === "help" || isKnown ? [...argv] : [named];
}

/** Says why a command failed, or that it was stopped. @returns the exit code */
function reportFailure(error: unknown): number {
  const stopped = error instanceof SpaError && error.code === "ABORTED" ? interruptionCode() : undefined;
  printError(stopped === undefined ? describeError(error) : "stopped before a run began");
  return stopped ?? exitCodeOf(error);
}

/**
 * Runs one command.
 *
 * @param argv the arguments after the program's name
 * @returns the exit code
 */
export async function main(argv: string[]): Promise<number> {
  guardOutput();
  let code = 0;
  const program = createProgram((result) => {
    code = result;
  });
  try {
    await program.parseAsync(withoutHelp(argv, program), { from: "user" });
    return await codeWithOutput(code);
  } catch (error) {
    // Commander has printed its message; its own code is 1 for wrong usage.
    if (error instanceof CommanderError) return await codeWithOutput(error.exitCode === 0 ? 0 : 2);
    return reportFailure(fileError(firstFailure(error)));
  }
}
