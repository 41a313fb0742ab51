import { z } from "zod";
import { fieldNeeding } from "../../addon/loss-fields.ts";
import type { PpoConfig } from "../../config/schema.ts";
import type { Model } from "../../engine/model.ts";
import { createTrainer, type Trainer } from "../../engine/trainer.ts";
import type { StepMetrics } from "../../metrics/step-metrics.ts";
import { collect } from "../../rollout/collector.ts";
import type { LevelStream } from "../../rollout/levels.ts";
import { playsOf } from "../../rollout/player.ts";
import { SeededGenerator, seedOf } from "../../rollout/seeded-generator.ts";
import { sampledTokens, type Trajectory } from "../../rollout/trajectory.ts";
import { TurnProtocol } from "../../rollout/turn-protocol.ts";
import type { TurnFormat } from "../../text/tags.ts";
import { loadBeside, loadTrained } from "../adapters.ts";
import { protocolOf, type StageContext } from "../context.ts";
import { passCurveMetrics, passRates } from "../evaluate/evaluate.ts";
import { playMetrics, playStatistics } from "../play-statistics.ts";
import { StageRun } from "../stage-run.ts";
import { MicroBatchWatch, memorySettings, trainerSchedule } from "../training.ts";
import { trainingLevels } from "../training-levels.ts";
import { validate, validationFigures } from "../validation.ts";
import {
  chooseTrajectories,
  logProbDifference,
  type PpoData,
  type PpoModels,
  preparePpoData,
} from "./batch.ts";
import { CollapseWatch } from "./collapse-watch.ts";
import { environmentStates } from "./environment-states.ts";
import { groupFigures } from "./group-figures.ts";
import { updateMetrics } from "./metrics.ts";
import { replyInformation } from "./reply-information.ts";
import { rewardStates } from "./state-rewards.ts";
import { distanceLimit, turnLimit } from "./step-limits.ts";
import { supervisedRows } from "./supervision.ts";
import { updatePolicy } from "./update.ts";

/** Reinforcement learning of one arm. */
interface PpoTask {
  id: string;
  /** Folder of the checkpoint to start from. */
  source: string;
  format: TurnFormat;
  settings: PpoConfig;
}

/** What a checkpoint of the stage holds beside its models. */
const savedState = z.object({ nextSeed: z.int() });

/** Everything that a step works with. */
interface PpoStage {
  context: StageContext;
  run: StageRun;
  task: PpoTask;
  protocol: TurnProtocol;
  /** The same, with the most turns that a training episode may ever take. */
  collection: TurnProtocol;
  levels: LevelStream;
  models: PpoModels;
  trainer: Trainer;
  collapse: CollapseWatch;
  microBatches: MicroBatchWatch;
}

/**
 * Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) over multi-turn episodes: each step collects
 * groups of episodes, keeps the groups whose rewards differ most, estimates advantages over the sampled tokens and
 * updates actor and critic.
 *
 * @throws SpaError ABORTED (saved), NOT_FINITE
 */
export async function ppo(context: StageContext, task: PpoTask): Promise<void> {
  const { config } = context;
  const { settings } = task;
  const run = await StageRun.begin(context, task.id, settings.steps);
  const levels = trainingLevels(context, { kind: "ppo" });
  levels.nextSeed = run.state(savedState)?.nextSeed ?? levels.nextSeed;
  const models = await loadModels(context, run, task);
  try {
    const critic =
      settings.critic === "model" ? models.critic : settings.critic === "shared" ? "shared" : null;
    await using trainer = createTrainer(models.actor, {
      optimizer: settings.optimizer,
      criticOptimizer: settings.criticOptimizer,
      schedule: trainerSchedule(settings.schedule, totalUpdates(settings)),
      gradientClip: settings.gradientClip,
      critic,
      ...memorySettings(config.engine),
      seed: seedOf(config.seed, task.id, "dropout"),
    });
    await run.restore(trainer);
    const protocol = protocolOf(context, task.format);
    const collapse = resumedWatch(run);
    const microBatches = new MicroBatchWatch(context.progress, task.id);
    const maxTurns = settings.interaction.maxTurns ?? config.protocol.maxTurns;
    const collection = new TurnProtocol(context.tokenizer, { ...config.protocol, maxTurns }, task.format);
    const playing = { protocol, collection, levels, models, collapse };
    const stage: PpoStage = { context, run, task, trainer, microBatches, ...playing };
    if (run.step === 0 && settings.validateEvery > 0) await validateStep(stage, 0);
    const hasCollapsed = () => settings.stopOnCollapse && collapse.collapsed;
    const isSpent = () =>
      run.cost.tokensSampled + run.cost.tokensTrained >= (settings.tokenBudget ?? Number.POSITIVE_INFINITY);
    const isStopped = () => hasCollapsed() || isSpent();
    for (let step = run.step + 1; step <= settings.steps && !isStopped(); step++) {
      await trainStep(stage, step);
      const validates = settings.validateEvery > 0 && step % settings.validateEvery === 0;
      const validation = validates ? await validateStep(stage, step) : undefined;
      const due = step === settings.steps || isStopped() || step % config.checkpoints.every === 0;
      await run.endStep(step, due, {
        model: models.actor,
        trainer,
        critic: settings.critic === "model" ? (models.critic ?? undefined) : undefined,
        state: { nextSeed: levels.nextSeed },
        validation,
      });
    }
    if (isSpent()) context.progress.note(`${task.id} has ended with its tokens (ppo.tokenBudget)`);
    if (hasCollapsed())
      context.progress.note(
        `${task.id} has ended before its ${settings.steps} steps, for it collapsed (ppo.stopOnCollapse); what it had learnt is kept`,
      );
    await run.complete();
  } finally {
    await Promise.all([models.actor, models.critic, models.reference].map((model) => model?.dispose()));
  }
}

/** A watch that knows the steps which the stage has done already. */
function resumedWatch({ context, id }: StageRun): CollapseWatch {
  const watch = new CollapseWatch();
  for (const row of context.run.metrics.rows()) {
    if (row.stage !== id) continue;
    if ("reward_mean" in row) watch.see(row);
    if ("validation_reward_mean" in row) watch.seeValidation(row);
  }
  return watch;
}

/**
 * The actor, its critic and its reference: from the newest checkpoint, or from where the stage starts. With `lora` they are
 * adapters on one backbone; the reference is that of the stage's start, or the backbone alone where there was none.
 */
async function loadModels(context: StageContext, run: StageRun, task: PpoTask): Promise<PpoModels> {
  const { settings, source, id } = task;
  let actor = await loadTrained(context, run.checkpoint?.folder ?? source, id);
  if (settings.critic === "shared" && !actor.hasValueHead) {
    const withHead = await actor.clone({ valueHead: true });
    await actor.dispose();
    actor = withHead;
  }
  const criticFolder = run.checkpoint?.criticFolder;
  let critic: Model | null = null;
  if (settings.critic === "shared") critic = actor;
  else if (settings.critic === "model") {
    critic = criticFolder
      ? await loadBeside(context, actor, criticFolder)
      : await actor.clone({ valueHead: true });
  }
  const reference = fieldNeeding(settings.loss, "referenceLogProbs")
    ? await loadBeside(context, actor, source)
    : null;
  return { actor, critic, reference };
}

/** Updates of a whole run, for schedules; an estimate where the filter keeps a varying number of groups. */
function totalUpdates({ steps, epochs, groups, groupSize, minibatch, filter }: PpoConfig): number {
  const share = filter.kind === "ratio" ? filter.value : 1;
  const perEpoch = Math.max(1, Math.round((Math.max(1, Math.floor(share * groups)) * groupSize) / minibatch));
  return steps * epochs * perEpoch;
}

/** Collects, chooses, estimates and updates once. */
async function trainStep(stage: PpoStage, step: number): Promise<void> {
  const { context, run, task, protocol, models } = stage;
  const { settings } = task;
  const begin = performance.now();
  const collected = await collectStep(stage, step);
  const sampled = sampledTokens(collected);
  const rolloutSeconds = (performance.now() - begin) / 1000;
  const { trajectories, stateReward } = rewardStates(collected, protocol, settings.rewards);
  const chosen = chooseTrajectories(trajectories, settings, context.config.environment.name);
  const statistics = playStatistics(collected, protocol);
  const figures: Record<string, number | undefined> = {
    ...playMetrics(statistics),
    group_std: chosen.deviation,
    groups_kept: chosen.groups,
    ...groupFigures(trajectories),
    state_reward: stateReward,
    turn_limit: turnLimitFigure(stage, step),
    distance_limit: distanceLimit(step, settings, context.config.levels.maxDistance)?.maxDistance,
  };
  const trainBegin = performance.now();
  if (chosen.trajectories.length > 0) {
    const data = await preparePpoData(chosen, models, settings);
    if (fieldNeeding(settings.loss, "environmentMask"))
      data.environmentMask = environmentStates(data.trajectories, protocol);
    const difference = await logProbDifference(models.actor, data, settings.temperature);
    const updates = await update(stage, step, data);
    run.cost.tokensTrained += updates.reduce((sum, { tokens }) => sum + tokens, 0);
    for (const metrics of updates) stage.microBatches.see(step, metrics);
    Object.assign(figures, updateMetrics(updates), {
      logprob_difference_mean: difference.mean,
      logprob_difference_max: difference.max,
    });
  }
  const trainSeconds = (performance.now() - trainBegin) / 1000;
  run.cost.tokensSampled += sampled;
  run.log(step, {
    ...figures,
    tokens_sampled: sampled,
    rollout_seconds: rolloutSeconds,
    train_seconds: trainSeconds,
    tokens_per_second: Math.round(sampled / (rolloutSeconds + trainSeconds)),
  });
  for (const warning of stage.collapse.see(figures))
    context.progress.note(`${task.id}, step ${step}: ${warning}`);
  run.logTrajectories(step, collected);
  context.progress.tick(step, {
    reward: statistics.rewardMean,
    success: statistics.successRate,
    entropy: figures.entropy,
  });
}

/** The limit of turns as it is logged: only where it is not the protocol's throughout. */
function turnLimitFigure({ context, task: { settings } }: PpoStage, step: number): number | undefined {
  const { maxTurns, annealTo } = settings.interaction;
  if (maxTurns === null && annealTo === null) return undefined;
  return turnLimit(step, settings, context.config.protocol.maxTurns);
}

async function collectStep(
  { context, task, collection, levels, models }: PpoStage,
  step: number,
): Promise<Trajectory[]> {
  const { groups, groupSize, temperature } = task.settings;
  const limit = distanceLimit(step, task.settings, context.config.levels.maxDistance);
  return collect({
    model: models.actor,
    protocol: collection,
    turns: turnLimit(step, task.settings, context.config.protocol.maxTurns),
    environments: context.environments,
    plays: playsOf(await levels.take(groups, context.signal, limit), groupSize, (step - 1) * groups),
    temperature,
    slots: context.config.engine.rolloutSlots,
    seed: seedOf(context.config.seed, task.id, "sampling"),
  });
}

/** The updates of a step. */
function update(stage: PpoStage, step: number, data: PpoData): Promise<StepMetrics[]> {
  const { context, task, trainer, protocol } = stage;
  const { settings, id } = task;
  const { seed, sft } = context.config;
  return updatePolicy(trainer, data, {
    settings,
    orderOf: (epoch) => new SeededGenerator(seed, id, "minibatches", step, epoch),
    trainsCriticAlone: step <= settings.criticWarmup,
    ...(fieldNeeding(settings.loss, "supervisedMask") && {
      supervision: { rows: supervisedRows(data.trajectories, protocol), weights: sft.weights },
    }),
  });
}

/** @returns Pass@1 */
async function validateStep(
  { context, run, task, protocol, models, collapse }: PpoStage,
  step: number,
): Promise<number> {
  const { validationLevels: levels, validationSamples: samples, informationLevels } = task.settings;
  const { trajectories, figures } = await validate(run, models.actor, protocol, { levels, samples });
  const rates = passRates(trajectories, samples);
  const reply_information =
    informationLevels > 0 ? await replyInformation(models.actor, trajectories, informationLevels) : undefined;
  const row = { ...validationFigures(passCurveMetrics(rates, samples)), ...figures, reply_information };
  run.log(step, row);
  for (const warning of collapse.seeValidation(row))
    context.progress.note(`${task.id}, step ${step}: ${warning}`);
  return rates.passAt1;
}
