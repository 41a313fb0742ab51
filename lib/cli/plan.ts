import type { Command } from "commander";
import type { Config } from "../config/schema.ts";
import { Engine } from "../engine/engine.ts";
import { parseSize } from "../files/size.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import { type MeasuredPhase, measureStage } from "../memory/measure.ts";
import { type MemoryPlan, planMemory, stagesWithSettings } from "../memory/plan.ts";
import { modelForEstimates } from "../stages/model-shape.ts";
import { describeStart } from "../stages/source-stage.ts";
import { describeMeasured, describePlan } from "./describe-plan.ts";
import { print, printJson } from "./print.ts";
import { addSettingsArgument, readRequest, requestedConfig } from "./run-options.ts";

const help = `
A stage's rows are what it does one after the other; the largest total counts. Settings that are on "auto" are chosen to
fit; give them to keep them. No weights are needed: the shapes of the presets' models are known. With --measure the passes
are done in earnest, and take their time and memory.

Examples:
  spa plan qwen2.5-0.5b-sokoban --memory 24GB engine.device=cuda
  spa plan qwen2.5-0.5b-sokoban --measure engine.device=cuda
  spa plan ./mine.yaml --memory 80GB engine.rolloutSlots=64 --json

Exit code 1: it does not fit.`;

interface PlanOptions {
  memory?: string;
  json?: boolean;
  env?: string;
  measure?: boolean;
}

/** `spa plan`. */
export function addPlanCommand(program: Command, finish: (code: number) => void): void {
  addSettingsArgument(program.command("plan"))
    .description("predict the memory of every stage of a run, and choose settings that fit a budget")
    .option("--memory <size>", "the device's memory, such as 24GB or 80GiB (default: engine.memory)")
    .option("--measure", "do each stage's passes once on the device, on random weights, and compare")
    .option("--env <file>", "JavaScript module with an environment of your own")
    .option("--json", "print the plan as JSON")
    .addHelpText("after", help)
    .action(async (args: string[], options: PlanOptions) => finish(await plan(args, options)));
}

async function plan(args: string[], { memory, json, env, measure }: PlanOptions): Promise<number> {
  const config = await requestedConfig(readRequest(args), { log: "auto", ...(env !== undefined && { env }) });
  const { shape } = await modelForEstimates(config);
  const budget = memory === undefined ? config.engine.memory : parseSize(memory);
  const result = planMemory(config, shape, budget);
  const measured = measure ? await measurePlan(config, shape, result) : undefined;
  const start = describeStart(config);
  const parts = [
    ...(start === undefined ? [] : [`every arm ${start}`]),
    describePlan(result),
    ...(measured === undefined ? [] : [describeMeasured(measured)]),
  ];
  if (json) printJson(measured === undefined ? result : { ...result, measured }, 2);
  else print(parts.join("\n\n"));
  return result.fits ? 0 : 1;
}

/** Does every stage's passes with the settings of a plan. */
async function measurePlan(
  config: Config,
  shape: ModelConfig,
  { device, settings }: MemoryPlan,
): Promise<MeasuredPhase[]> {
  const { threads, dtype } = settings;
  await using engine = await Engine.create({ device, threads });
  const createModel = () => engine.createModel(shape, { dtype });
  const results: MeasuredPhase[] = [];
  for (const stage of stagesWithSettings(config, settings))
    results.push(...(await measureStage({ engine, shape, createModel }, stage.settings, stage.work)));
  return results;
}
