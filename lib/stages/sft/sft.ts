import type { Json } from "../../../envs/environment.ts";
import type { Model } from "../../engine/model.ts";
import { createTrainer } from "../../engine/trainer.ts";
import { SeededGenerator, seedOf } from "../../rollout/seeded-generator.ts";
import { loadTrained } from "../adapters.ts";
import { protocolOf, type StageContext } from "../context.ts";
import { StageRun } from "../stage-run.ts";
import { isLogged, MicroBatchWatch, memorySettings, tokensPerSecond, trainerSchedule } from "../training.ts";
import { validate } from "../validation.ts";
import { packExamples, type SftExample } from "./examples.ts";
import { supervisedTokens } from "./loss-weights.ts";
import { carriesLoss, checkTrainable } from "./trainable.ts";

/** What is trained on. */
export interface SftData {
  examples: readonly SftExample[];
  /** What the ledger keeps of the data with the stage. */
  result?: { [name: string]: Json };
}

/** Supervised fine-tuning of a model on examples. */
interface SftTask extends SftData {
  id: string;
  /** Folder of the checkpoint to start from. */
  source: string;
}

/**
 * Trains the model on rewritten self-play: each update sees whole trajectories, the loss stands on the assistant's
 * turns (`sft.mask`, `sft.weights`), and each epoch has an order of its own.
 *
 * After each epoch: the loss on the validation trajectories, and how often observations and predictions are right when
 * the model plays tuning levels.
 *
 * @throws SpaError ABORTED (saved), NOT_FINITE, BAD_ARGUMENT when there is nothing to train on
 */
export async function sft(context: StageContext, task: SftTask): Promise<void> {
  const { config } = context;
  const settings = config.sft;
  checkTrainable(task.examples, settings, config.sft.data ?? task.id, config.model.kind);
  const all = task.examples.filter(({ split }) => split === "train");
  const training = all.filter((example) => carriesLoss(example, settings));
  if (training.length < all.length)
    context.progress.note(
      `${task.id}: ${all.length - training.length} of ${all.length} sequences are left out, for no token of them carries loss (sft.mask=${settings.mask}, sft.weights)`,
    );
  const validation = task.examples.filter(({ split }) => split === "validation");
  const updatesPerEpoch = Math.ceil(training.length / settings.batchSize);
  const total = updatesPerEpoch * settings.epochs;
  const run = await StageRun.begin(context, task.id, total);
  await using model: Model = await loadTrained(context, run.checkpoint?.folder ?? task.source, task.id);
  await using trainer = createTrainer(model, {
    optimizer: settings.optimizer,
    schedule: trainerSchedule(settings.schedule, total),
    gradientClip: settings.gradientClip,
    ...memorySettings(config.engine),
    seed: seedOf(config.seed, task.id, "dropout"),
  });
  await run.restore(trainer);

  const microBatches = new MicroBatchWatch(context.progress, task.id);
  const orders = epochOrders(config.seed, task.id, training.length);
  for (let step = run.step + 1; step <= total; step++) {
    const begin = performance.now();
    const epoch = Math.floor((step - 1) / updatesPerEpoch);
    const first = ((step - 1) % updatesPerEpoch) * settings.batchSize;
    const chosen = orders(epoch).subarray(first, first + settings.batchSize);
    const examples = Array.from(chosen, (index) => training[index]);
    const { tokens, offsets, ...packed } = packExamples(examples);
    const supervised = supervisedTokens(settings.mask, packed, settings.weights);
    const metrics = await trainer.step({ tokens, offsets, ...supervised }, { kind: "sft" });
    microBatches.see(step, metrics);
    run.cost.tokensTrained += tokens.length;
    const endOfEpoch = step % updatesPerEpoch === 0;
    if (isLogged(step, total) || endOfEpoch) {
      run.log(step, {
        epoch: step / updatesPerEpoch,
        loss: metrics.loss,
        grad_norm: metrics.gradientNorm,
        learning_rate: metrics.learningRate,
        tokens: tokens.length,
        micro_batch_tokens: metrics.microBatchTokens,
        tokens_per_second: tokensPerSecond(tokens.length, begin),
        ...(endOfEpoch && (await validateEpoch(run, model, validation))),
      });
    }
    context.progress.tick(step, { loss: metrics.loss });
    await run.endStep(step, step === total || step % config.checkpoints.everyUpdates === 0, {
      model,
      trainer,
    });
  }
  await run.complete(task.result);
}

/** The order of an epoch, which depends on seed, stage and epoch alone. */
function epochOrders(seed: number, id: string, length: number): (epoch: number) => Uint32Array {
  let known: { epoch: number; order: Uint32Array } | undefined;
  return (epoch) => {
    if (known?.epoch !== epoch) {
      known = { epoch, order: new SeededGenerator(seed, id, "epoch", epoch).permutation(length) };
    }
    return known.order;
  };
}

/** Loss on validation trajectories, and right states in play on tuning levels. */
async function validateEpoch(
  run: StageRun,
  model: Model,
  examples: readonly SftExample[],
): Promise<Record<string, number | undefined>> {
  const { context } = run;
  const {
    sft,
    sft: { validationLevels },
  } = context.config;
  const loss = await validationLoss(model, examples, sft);
  const levels = Math.min(validationLevels, context.split.tuning.length);
  if (levels === 0) return { validation_loss: loss };
  const protocol = protocolOf(context, "world-model");
  const { figures } = await validate(run, model, protocol, { levels, samples: 1 });
  return { validation_loss: loss, ...figures };
}

/** Mean negative log-prob of the tokens with loss, weighted as in training; undefined without any. */
async function validationLoss(
  model: Model,
  examples: readonly SftExample[],
  settings: StageContext["config"]["sft"],
): Promise<number | undefined> {
  if (examples.length === 0) return undefined;
  const { tokens, offsets, ...packed } = packExamples(examples);
  const { mask, weights } = supervisedTokens(settings.mask, packed, settings.weights);
  const logProbs = await model.logProbs({ tokens, offsets });
  let sum = 0;
  let count = 0;
  for (let index = 0; index < tokens.length; index++) {
    const weight = mask[index] * (weights?.[index] ?? 1);
    sum -= weight * logProbs[index];
    count += weight;
  }
  return count === 0 ? undefined : sum / count;
}
