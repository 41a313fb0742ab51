import type { Config } from "../config/schema.ts";
import { withMemorySettings } from "../memory/resolve.ts";
import { environmentFactory } from "../pipeline.ts";
import { formatFigure } from "../run/progress.ts";
import { estimateRun } from "../stages/estimate.ts";
import { modelForEstimates } from "../stages/model-shape.ts";
import { preflight } from "../stages/preflight.ts";
import { configuredExamples } from "../stages/schedule.ts";
import { readSftRows } from "../stages/sft/files.ts";
import { describeStart } from "../stages/source-stage.ts";
import { describePlan } from "./describe-plan.ts";
import { toYaml } from "./print.ts";
import { formatTable } from "./table.ts";

/**
 * The configuration as YAML, and as comments under it the stages with the tokens, work and memory they will take.
 *
 * @throws SpaError as `createRun` does where a run would not begin: prompts that do not fit, nothing to train on, …
 */
export async function describeRun(config: Config): Promise<string> {
  if (config.sft.data !== null) await readSftRows(config.sft.data);
  const model = await modelForEstimates(config);
  const { tokenizer } = model;
  if (config.sft.data !== null && !model.isStandIn) await configuredExamples(config, tokenizer, undefined);
  const createEnvironment = await environmentFactory(config);
  const notes = await preflight({ config, tokenizer, createEnvironment });
  const estimate = await estimateRun(config, model, createEnvironment);
  const rows = estimate.stages.map(({ id, tokensSampled, tokensTrained }) => [
    id,
    tokensSampled > 0 ? formatFigure(tokensSampled) : "–",
    tokensTrained > 0 ? formatFigure(tokensTrained) : "–",
  ]);
  const start = describeStart(config);
  const comments = [
    ...(start === undefined ? [] : [`Every arm ${start}`, ""]),
    "Estimates, from episodes of a random player:",
    ...(model.isStandIn ? ["(the model is not in the cache: tokens of prompts are counted as words)"] : []),
    "",
    ...formatTable(["stage", "tokens sampled", "tokens trained"], rows, ["left", "right", "right"]).split(
      "\n",
    ),
    "",
    `parameters ${formatFigure(estimate.parameters)}, work ${formatFigure(estimate.operations / 1e12)} TFLOP`,
    "",
    ...describePlan(estimate.memory).split("\n"),
    ...notes.flatMap((note) => ["", note]),
  ];
  const { budget, settings } = estimate.memory;
  const resolved = budget === null ? config : withMemorySettings(config, settings);
  return `${toYaml(resolved)}\n${comments.map((line) => `# ${line}`.trimEnd()).join("\n")}`;
}
