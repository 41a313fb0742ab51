import type { Config } from "../../config/schema.ts";
import type { Model } from "../../engine/model.ts";
import { createTrainer } from "../../engine/trainer.ts";
import { SpaError } from "../../errors.ts";
import type { ModelConfigInput } from "../../formats/model-config.ts";
import { packTrajectories } from "../../rollout/batch.ts";
import { seedOf } from "../../rollout/seeded-generator.ts";
import { chatFormatOf } from "../../text/chat-format.ts";
import { lossMask } from "../../text/masks.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { BASE_STAGE, loadModel, type StageContext } from "../context.ts";
import { StageRun } from "../stage-run.ts";
import { isLogged, MicroBatchWatch, memorySettings, tokensPerSecond, trainerSchedule } from "../training.ts";
import { TraceSource } from "./traces.ts";

/**
 * Pre-trains the nano model, the stand-in for an instruct LLM: it learns both formats of turns and to describe states
 * roughly, from written traces that hold nothing about dynamics and no policy ({@link TraceSource}).
 *
 * @throws SpaError ABORTED (saved), NOT_FINITE
 */
export async function pretrain(context: StageContext): Promise<void> {
  const { config, engine, tokenizer } = context;
  const { base } = config;
  const run = await StageRun.begin(context, BASE_STAGE, base.steps);
  await using traces = await TraceSource.create(context);
  const { dtype } = config.engine;
  const seed = seedOf(config.seed, BASE_STAGE, "weights");
  await using model: Model = run.checkpoint
    ? await loadModel(context, run.checkpoint.folder)
    : await engine.createModel(nanoShape(config, tokenizer), { dtype, seed, initialization: "nano" });
  await using trainer = createTrainer(model, {
    optimizer: base.optimizer,
    schedule: trainerSchedule(base.schedule, base.steps),
    gradientClip: base.gradientClip,
    ...memorySettings(config.engine),
  });
  await run.restore(trainer);

  const microBatches = new MicroBatchWatch(context.progress, BASE_STAGE);
  let next = await traces.batch(run.step + 1);
  for (let step = run.step + 1; step <= base.steps; step++) {
    const begin = performance.now();
    const { tokens, offsets, roles } = packTrajectories(next);
    const update = trainer.step({ tokens, offsets, mask: lossMask("full", roles, null) }, { kind: "sft" });
    // The next traces are written while the engine's thread trains on these.
    const [metrics, following] = await Promise.all([update, step < base.steps ? traces.batch(step + 1) : []]);
    if (step === 1) run.logTrajectories(step, next);
    next = following;
    microBatches.see(step, metrics);
    run.cost.tokensTrained += tokens.length;
    if (isLogged(step, base.steps)) {
      run.log(step, {
        loss: metrics.loss,
        grad_norm: metrics.gradientNorm,
        learning_rate: metrics.learningRate,
        tokens: tokens.length,
        micro_batch_tokens: metrics.microBatchTokens,
        tokens_per_second: tokensPerSecond(tokens.length, begin),
      });
    }
    context.progress.tick(step, { loss: metrics.loss });
    const due = step === base.steps || step % config.checkpoints.everyUpdates === 0;
    await run.endStep(step, due, { model, trainer });
  }
  await run.complete();
}

/** The nano model's shape over a tokenizer's vocabulary. */
export function nanoShape(config: Config, tokenizer: Tokenizer): ModelConfigInput {
  const { model, protocol } = config;
  if (model.kind !== "nano") {
    throw new SpaError("BAD_CONFIG", "only the nano model has a base stage", { hint: "set model.kind=nano" });
  }
  const { stopTokens } = chatFormatOf(tokenizer);
  return {
    architecture: model.architecture,
    vocabularySize: tokenizer.vocabularySize,
    hiddenSize: model.hidden,
    intermediateSize: model.intermediate,
    layers: model.layers,
    heads: model.heads,
    keyValueHeads: model.keyValueHeads,
    headDimension: model.headDimension,
    ropeTheta: model.ropeTheta,
    maxPositions: Math.max(protocol.maxTokens, 2048),
    endTokens: [...stopTokens],
  };
}
