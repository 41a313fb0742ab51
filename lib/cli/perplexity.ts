import { type Command, InvalidArgumentError } from "commander";
import { SpaError } from "../errors.ts";
import { didYouMean } from "../nearest-name.ts";
import { type ReadingContext, withoutRun } from "../pipeline.ts";
import { RunFolder } from "../run/run-folder.ts";
import { requireTrusted } from "../run/trust.ts";
import { BASE_STAGE, loadModel } from "../stages/context.ts";
import { type StatePerplexity, statePerplexity } from "../stages/perplexity.ts";
import { modelFolder, scheduleStages } from "../stages/schedule.ts";
import { type StateForm, stateForms } from "../text/state-text.ts";
import { whileInterruptible } from "./download.ts";
import { lastRun, namedRun } from "./find-run.ts";
import { print, printJson } from "./print.ts";
import {
  addSettingsArgument,
  type Request,
  readRequest,
  refuseSettings,
  requestedConfig,
} from "./run-options.ts";
import { type Alignment, formatTable } from "./table.ts";

interface PerplexityCommandOptions {
  run?: string;
  stage?: string;
  levels?: number;
  states: StateForm[];
  json?: boolean;
  env?: string;
  trust?: boolean;
}

/** A model's figures, one entry for each form of states. */
interface ModelPerplexity {
  /** The stage whose model it is, or what the settings name. */
  model: string;
  states: StatePerplexity[];
}

const DEFAULT_LEVELS = 32;

const help = `
Tuning levels are played with random actions, the true states are written into observation and prediction, and the model
scores them. Without a preset, a file or settings: the base of a run and all of its finished SFT and PPO stages. Nothing is
written.

Perplexities are per token: compare them between models, not between forms of states or tokenizers, whose tokens differ.
Nats per state (the sum over a state's tokens) can be compared between forms, too.

Examples:
  spa perplexity                                 the last run
  spa perplexity --run runs/first --stage spa/sft --levels 100
  spa perplexity qwen2.5-0.5b-sokoban            a model as it comes
  spa perplexity nano-sokoban start=runs/first#spa/sft --json`;

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError("It must be a whole number, 1 or more.");
  return value;
}

function readForms(text: string): StateForm[] {
  const asked = new Set(text.split(","));
  const forms = stateForms.filter((form) => asked.delete(form));
  if (asked.size === 0) return forms;
  throw new InvalidArgumentError(`It must be among ${stateForms.join(",")}.`);
}

/** `spa perplexity`. */
export function addPerplexityCommand(program: Command, finish: (code: number) => void): void {
  addSettingsArgument(program.command("perplexity"))
    .description("print the perplexity of the true states under a model, or under a run's models")
    .option("--run <folder>", "the models of this run")
    .option("--stage <id>", "of the run this stage's model alone, e.g. spa/sft")
    .option(
      "--levels <number>",
      `tuning levels to play (default: ${DEFAULT_LEVELS}, or as many as there are)`,
      positive,
    )
    .option("--states <forms>", `how states are written: among ${stateForms.join(",")}`, readForms, [
      "grid",
      "structured",
    ])
    .option("--env <file>", "JavaScript module with an environment of your own")
    .option(
      "--trust",
      "execute the environment module that the run names, though you have not named it before",
    )
    .option("--json", "print the figures as JSON")
    .addHelpText("after", help)
    .action(async (args: string[], options: PerplexityCommandOptions) => {
      const measured = await measure(readRequest(args), options);
      if (options.json) printJson(measured, 2);
      else print(perplexityTable(measured));
      finish(0);
    });
}

function measure(request: Request, options: PerplexityCommandOptions): Promise<ModelPerplexity[]> {
  const isRun =
    options.run !== undefined ||
    (request.source === undefined && request.settings.length === 0 && options.env === undefined);
  return isRun ? measureRun(request, options) : measureSettings(request, options);
}

async function measureRun(request: Request, options: PerplexityCommandOptions): Promise<ModelPerplexity[]> {
  const folder = namedRun(options.run ?? lastRun());
  refuseSettings(request, { ...options, log: "auto" }, folder);
  const run = RunFolder.open(folder);
  if (!options.trust) requireTrusted(run.config.environment, run.path);
  const stages = measuredStages(run, options.stage);
  return whileInterruptible({ log: "auto" }, (progress, signal) =>
    withoutRun(run.config, { progress, signal }, async (context) => {
      const results: ModelPerplexity[] = [];
      for (const stage of stages) {
        const { pretrainedFolder } = context;
        await using model = await loadModel(
          { ...context, run },
          modelFolder({ run, pretrainedFolder }, stage),
        );
        results.push({ model: stage, states: await ofForms(context, model, options) });
      }
      return results;
    }),
  );
}

/** The stages of a run whose models there are. @throws SpaError UNKNOWN_NAME */
function measuredStages(run: RunFolder, asked: string | undefined): string[] {
  const isDone = (id: string) => run.stage(id)?.state === "done";
  const trained = scheduleStages(run.config).filter(
    ({ kind, id }) => ["sft", "ppo"].includes(kind) && isDone(id),
  );
  const hasBase = run.config.model.kind !== "nano" || isDone(BASE_STAGE);
  const stages = [...(hasBase ? [BASE_STAGE] : []), ...trained.map(({ id }) => id)];
  const hint =
    stages.length > 0
      ? `stages with a model: ${stages.join(", ")}`
      : "go on with the run: spa train --resume";
  if (asked !== undefined && !stages.includes(asked)) {
    const what = `${run.path} has no finished stage "${asked}" with a model${didYouMean(asked, stages)}`;
    throw new SpaError("UNKNOWN_NAME", what, { hint });
  }
  if (stages.length === 0) throw new SpaError("BAD_ARGUMENT", `${run.path} has no model yet`, { hint });
  return asked === undefined ? stages : [asked];
}

async function measureSettings(
  request: Request,
  options: PerplexityCommandOptions,
): Promise<ModelPerplexity[]> {
  const { env } = options;
  if (options.stage !== undefined) {
    throw new SpaError("BAD_ARGUMENT", "--stage names a stage of a run, and settings are given", {
      hint: "give --run <folder> in place of the settings, or start=<folder>#<stage> among them",
    });
  }
  const config = await requestedConfig(request, { log: "auto", ...(env !== undefined && { env }) });
  const { model: source } = config;
  if (source.kind === "nano") {
    throw new SpaError("BAD_ARGUMENT", "the nano model has to be trained before it is measured", {
      hint: "name a run (--run <folder>), a stage (start=<folder>#<stage>) or a pretrained model (model=<id or folder>)",
    });
  }
  const name = source.kind === "stage" ? `${source.run}#${source.stage}` : source.path;
  return whileInterruptible({ log: "auto" }, (progress, signal) =>
    withoutRun(config, { progress, signal }, async (context) => {
      const { dtype } = context.config.engine;
      await using model = await context.engine.loadModel(context.pretrainedFolder!, { dtype, signal });
      return [{ model: name, states: await ofForms(context, model, options) }];
    }),
  );
}

async function ofForms(
  context: ReadingContext,
  model: Parameters<typeof statePerplexity>[1],
  { states, levels: asked }: PerplexityCommandOptions,
): Promise<StatePerplexity[]> {
  const { length } = context.split.tuning;
  if (asked !== undefined && asked > length) {
    throw new SpaError("BAD_ARGUMENT", `--levels ${asked}: there are ${length} tuning levels`, {
      hint: "levels.tuningLevels says how many there are",
    });
  }
  const levels = asked ?? Math.min(DEFAULT_LEVELS, length);
  const results: StatePerplexity[] = [];
  for (const form of states) results.push(await statePerplexity(context, model, { levels, form }));
  return results;
}

const columns: [title: string, part: Exclude<keyof StatePerplexity, "form" | "tooLong">][] = [
  ["observation", "observation"],
  ["prediction", "prediction"],
  ["changed", "predictionChanged"],
  ["both", "both"],
  ["grid", "grid"],
  ["coordinates", "coordinates"],
];

/** Two tables, of perplexities per token and of nats per state, a line for each model and form of states. */
export function perplexityTable(models: readonly ModelPerplexity[]): string {
  const table = (title: string, figure: "perplexity" | "natsPerState") => {
    const header = [title, "states", ...columns.map(([name]) => name)];
    const rows = models.flatMap(({ model, states }) =>
      states.map((fits) => [model, fits.form, ...columns.map(([, part]) => digits(fits[part][figure]))]),
    );
    return formatTable(
      header,
      rows,
      header.map((_, column): Alignment => (column < 2 ? "left" : "right")),
    );
  };
  const tooLong = models[0].states.filter((fits) => fits.tooLong > 0);
  return [
    table("perplexity per token", "perplexity"),
    table("nats per state", "natsPerState"),
    "Compare perplexities between models; between forms of states nats per state, for their tokens differ.",
    ...tooLong.map((fits) => `${fits.form}: ${fits.tooLong} levels left out, longer than protocol.maxTokens`),
  ].join("\n\n");
}

/** Four digits that count; a dash where a figure does not apply. */
function digits(value: number | null): string {
  return value === null ? "–" : value < 1e6 ? value.toPrecision(4) : value.toExponential(3);
}
