import { badArgument, checkObject } from "../addon/arguments.ts";
import { fieldNeeding } from "../addon/loss-fields.ts";
import { overrideConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { Model } from "../engine/model.ts";
import { createTrainer, type Trainer } from "../engine/trainer.ts";
import { throwIfAborted } from "../errors.ts";
import type { ResolvedConfig } from "../memory/resolve.ts";
import { SeededGenerator, seedOf } from "../rollout/seeded-generator.ts";
import { type RecordedSession, SessionLog } from "../run/session-log.ts";
import { sessionTrajectories } from "../run/session-trajectory.ts";
import { chooseTrajectories, logProbDifference, preparePpoData } from "../stages/ppo/batch.ts";
import { updateMetrics } from "../stages/ppo/metrics.ts";
import { updatePolicy } from "../stages/ppo/update.ts";
import { memorySettings } from "../stages/training.ts";

/** A policy to be trained, with its settings: an `Agent`, or what a server has loaded (`Policies.policy`). */
export interface TrainablePolicy {
  readonly model: Model;
  readonly config: ResolvedConfig;
}

export interface TrainOnSessionsOptions {
  /** Settings over the agent's: `["ppo.optimizer.learningRate=1e-5"]`. */
  settings?: readonly string[];
  /** Goes on with an optimiser that earlier calls have used; by default each call has one of its own. */
  trainer?: Trainer;
  /** Ends before the first update. */
  signal?: AbortSignal | undefined;
}

/** What {@link trainOnSessions} has done. */
export interface SessionsOutcome {
  sessions: number;
  /** Of all sessions. */
  rewardMean: number;
  /** Sessions that were trained on: those of groups that the filter keeps. */
  trained: number;
  /** Tokens that the policy sampled in them. */
  tokens: number;
  /** Figures of the updates, under the names that they have in metrics.jsonl. */
  figures: Record<string, number | undefined>;
}

/** What sessions are trained with where nobody says otherwise: their worlds are unknown, and so are values of their states. */
const sessionSettings = [
  "ppo.critic=none",
  "ppo.advantage.estimator=reinforce++",
  "ppo.filter={kind: none, value: 1}",
];

/**
 * Trains a policy on what was sampled of it elsewhere, on exactly those tokens: PPO's updates with the run's settings
 * (`ppo`), without a critic and with REINFORCE++'s advantages unless `settings` say otherwise. Sessions of a group (`group_id`) can be
 * compared: `ppo.advantage.estimator=grpo`.
 *
 * @param sessions what a server has recorded, or the file that it was written to
 * @throws SpaError BAD_ARGUMENT where there is nothing to train on, sessions differ in temperature or do not fit the model;
 * BAD_CHECKPOINT for a damaged file, BAD_CONFIG, NOT_FINITE, ABORTED
 */
export async function trainOnSessions(
  { model, config: own }: TrainablePolicy,
  sessions: string | readonly RecordedSession[],
  options: TrainOnSessionsOptions = {},
): Promise<SessionsOutcome> {
  checkObject(options, "options", ["settings", "trainer", "signal"]);
  const recorded = typeof sessions === "string" ? new SessionLog(sessions).read() : sessions;
  const temperature = temperatureOf(recorded);
  const config: Config = overrideConfig(own, [...sessionSettings, ...(options.settings ?? [])]);
  const settings = { ...config.ppo, temperature };
  if (settings.critic !== "none" || (options.trainer?.critic ?? null) !== null)
    throw badArgument("sessions are trained on without a critic", "leave ppo.critic and the trainer's out");
  const trajectories = sessionTrajectories(recorded);
  throwIfAborted(options.signal);
  const chosen = chooseTrajectories(trajectories, settings, "sessions");
  // What a penalty holds it to is what it was before this call.
  const reference = fieldNeeding(settings.loss, "referenceLogProbs") ? model : null;
  const data = await preparePpoData(chosen, { actor: model, critic: null, reference }, settings);
  const difference = await logProbDifference(model, data, temperature);
  const trainer = options.trainer ?? trainerFor(model, config, own);
  try {
    const updates = await updatePolicy(trainer, data, {
      settings,
      orderOf: (epoch) => new SeededGenerator(config.seed, "sessions", trainer.stepCount, epoch),
    });
    const rewards = trajectories.map(({ totalReward }) => totalReward);
    return {
      sessions: trajectories.length,
      rewardMean: rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length,
      trained: data.trajectories.length,
      tokens: data.batch.sampled.reduce((sum, value) => sum + value, 0),
      figures: {
        ...updateMetrics(updates),
        logprob_difference_mean: difference.mean,
        logprob_difference_max: difference.max,
      },
    };
  } finally {
    if (options.trainer === undefined) await trainer.dispose();
  }
}

function trainerFor(model: Model, { ppo, seed }: Config, { engine }: ResolvedConfig): Trainer {
  return createTrainer(model, {
    optimizer: ppo.optimizer,
    gradientClip: ppo.gradientClip,
    ...memorySettings(engine),
    seed: seedOf(seed, "sessions", "dropout"),
  });
}

/** The temperature of all sessions: their log-probs are those of one policy. */
function temperatureOf(sessions: readonly RecordedSession[]): number {
  if (sessions.length === 0)
    throw badArgument("there are no sessions to train on", "give sessions rewards: POST /v1/rewards");
  const [{ temperature }] = sessions;
  const other = sessions.find((session) => session.temperature !== temperature);
  if (other === undefined) return temperature;
  throw badArgument(
    `sessions were sampled at different temperatures: ${temperature} ("${sessions[0].session}") and ${other.temperature} ("${other.session}")`,
    "train on those of one temperature at a time",
  );
}
