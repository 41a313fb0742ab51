import type { Command } from "commander";
import { parseSize } from "../files/size.ts";
import { planMemory } from "../memory/plan.ts";
import { modelForEstimates } from "../stages/model-shape.ts";
import { describePlan } from "./describe-plan.ts";
import { print, printJson } from "./print.ts";
import { addSettingsArgument, readRequest, requestedConfig } from "./run-options.ts";

const help = `
A stage's rows are what it does one after the other; the largest total counts. Settings that are on "auto" are chosen to
fit; give them to keep them. No weights are needed: the shapes of the presets' models are known.

Examples:
  spa plan qwen2.5-0.5b-sokoban --memory 24GB engine.device=cuda
  spa plan ./mine.yaml --memory 80GB engine.rolloutSlots=64 --json

Exit code 1: it does not fit.`;

interface PlanOptions {
  memory?: string;
  json?: boolean;
  env?: string;
}

/** `spa plan`. */
export function addPlanCommand(program: Command, finish: (code: number) => void): void {
  addSettingsArgument(program.command("plan"))
    .description("predict the memory of every stage of a run, and choose settings that fit a budget")
    .option("--memory <size>", "the device's memory, such as 24GB or 80GiB (default: engine.memory)")
    .option("--env <file>", "JavaScript module with an environment of your own")
    .option("--json", "print the plan as JSON")
    .addHelpText("after", help)
    .action(async (args: string[], options: PlanOptions) => finish(await plan(args, options)));
}

async function plan(args: string[], { memory, json, env }: PlanOptions): Promise<number> {
  const config = await requestedConfig(readRequest(args), { log: "auto", ...(env !== undefined && { env }) });
  const { shape } = await modelForEstimates(config);
  const budget = memory === undefined ? config.engine.memory : parseSize(memory);
  const result = planMemory(config, shape, budget);
  if (json) printJson(result, 2);
  else print(describePlan(result));
  return result.fits ? 0 : 1;
}
