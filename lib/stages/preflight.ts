import type { Environment } from "../../envs/environment.ts";
import { hasSft } from "../config/arms.ts";
import type { Config } from "../config/schema.ts";
import { heedSignal, SpaError } from "../errors.ts";
import { EnvironmentPool } from "../rollout/environment-pool.ts";
import { Episode } from "../rollout/episode.ts";
import { type Level, type LevelSplit, splitLevels } from "../rollout/levels.ts";
import { checkOptimal } from "../rollout/optimal-policy.ts";
import { type Play, playsOf } from "../rollout/player.ts";
import { randomStatesScript } from "../rollout/random-policy.ts";
import { encodeReply, playScripted, type Script } from "../rollout/scripted.ts";
import { SeededGenerator } from "../rollout/seeded-generator.ts";
import type { Trajectory } from "../rollout/trajectory.ts";
import { TurnProtocol } from "../rollout/turn-protocol.ts";
import type { TurnFormat } from "../text/tags.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { promptProtocols } from "./base/traces.ts";
import { Worlds } from "./base/worlds.ts";
import { tryEnvironment } from "./environment-check.ts";
import { scheduleStages } from "./schedule.ts";
import { checkSplit } from "./self-play/self-play.ts";
import { openSourceStage } from "./source-stage.ts";
import { trainingLevels } from "./training-levels.ts";
import { UnknownText } from "./unknown-text.ts";

/** What a run is to be made of. */
interface PreflightRequest {
  config: Config;
  tokenizer: Tokenizer;
  createEnvironment: () => Environment;
  signal?: AbortSignal | undefined;
}

/** What the checks work with. */
interface Trial extends PreflightRequest {
  environments: EnvironmentPool;
  split: LevelSplit;
  /** Of prompts and truthful replies. */
  unknown: UnknownText;
}

/** Levels of each kind of training whose first prompts are measured, beside all test and tuning levels. */
const MEASURED_LEVELS = 50;

/** Episodes of a random player that are played to meet states, in each format. */
const PLAYED_EPISODES = 20;

/**
 * Finds out, before anything is trained, what cannot work: the environment is tried, test, tuning and training levels are drawn,
 * their first prompts measured, and some episodes played at random. It makes its own environments and generators: a run's numbers do not
 * depend on it.
 *
 * @returns what the user should know all the same
 * @throws SpaError CAPACITY when prompts or truthful replies do not fit the context, BAD_CONFIG when nothing would be trained
 * on, BAD_TOKENIZER when the model of another run does not know the environment's text, BAD_ENVIRONMENT, ABORTED
 */
export async function preflight(request: PreflightRequest): Promise<string[]> {
  const { config, tokenizer, createEnvironment, signal } = request;
  const notes: string[] = [];
  const note = (text: string) => notes.push(text);
  await tryEnvironment(config, tokenizer, createEnvironment, { note, signal });
  checkSplit(config);
  await using environments = new EnvironmentPool(createEnvironment, { timeout: config.environment.timeout });
  const environment = environments.acquire();
  checkOptimal(config, environment);
  const split = await splitLevels(environment, config.levels, signal);
  const trial = { ...request, environments, split, unknown: new UnknownText(tokenizer) };
  for (const format of formatsOf(config)) {
    await checkPrompts(trial, format);
    notes.push(...(await checkStates(trial, format)));
  }
  await checkTraces(trial);
  return [...notes, ...checkVocabulary(trial)];
}

/**
 * Whether what the base learns beside the run's own environment and prompts (`base.also`, `base.promptStates`) is there, and first turns
 * fit the context.
 */
async function checkTraces(trial: Trial): Promise<void> {
  const { config, tokenizer, signal } = trial;
  const { model, base } = config;
  if (model.kind !== "nano" || (base.also.length === 0 && base.promptStates === null)) return;
  await using worlds = await Worlds.open(trial, PLAYED_EPISODES);
  for (const { name, environments, levels } of worlds.all) {
    for (const settings of promptProtocols(config)) {
      for (const format of ["plain", "world-model"] as const) {
        const protocol = new TurnProtocol(tokenizer, settings, format);
        const script = randomStatesScript(config, protocol);
        const generatorOf = ({ id }: Play) => new SeededGenerator("preflight", name, format, id);
        const options = { protocol, environments, plays: playsOf(levels), script, generatorOf, signal };
        await playScripted({ ...options, turns: 1 }).catch((error: unknown) => {
          if (!(error instanceof SpaError && error.code === "CAPACITY")) throw error;
          const what = `traces of the base on ${name}, with prompts of promptState ${settings.promptState}`;
          throw new SpaError("CAPACITY", `${what}: ${error.message}`, {
            ...(error.hint !== undefined && { hint: error.hint }),
          });
        });
      }
    }
  }
}

/**
 * Whether a model that another run has trained knows what this run's environment says: the run has no base stage that would
 * teach it. Within one environment such text may have been trained on, and is only told.
 */
function checkVocabulary({ config: { model, environment }, unknown }: Trial): string[] {
  if (model.kind !== "stage" || unknown.found.length === 0) return [];
  const { name } = openSourceStage(model).run.config.environment;
  const what = `the vocabulary of ${model.run} lacks ${unknown.found.join(", ")}, which ${environment.name} writes`;
  if (name === environment.name) return [`warning: ${what}: there are bytes in its place`];
  throw new SpaError("BAD_TOKENIZER", what, {
    hint: "start from a run on an environment with such states, or leave start out: a base stage teaches them",
  });
}

/** The formats in which a run plays. */
function formatsOf(config: Config): Set<TurnFormat> {
  return new Set(scheduleStages(config).flatMap(({ format }) => format ?? ["plain", "world-model"]));
}

/** Whether the first prompts of the levels leave room for a reply. */
async function checkPrompts(trial: Trial, format: TurnFormat): Promise<void> {
  const { config, tokenizer, environments, split, unknown, signal } = trial;
  const protocol = new TurnProtocol(tokenizer, config.protocol, format);
  const trained = scheduleStages(config).flatMap(({ draws }) =>
    draws === undefined
      ? []
      : trainingLevels(trial, draws).take(Math.min(draws.count, MEASURED_LEVELS), signal),
  );
  const drawn = [...split.test, ...split.tuning, ...(await Promise.all(trained)).flat()];
  // The arms' PPO stages draw the same ones.
  const levels = [...new Map(drawn.map((level) => [level.seed, level])).values()];
  const lengths: number[] = [];
  for (const [index, level] of levels.entries()) {
    if (index % 16 === 0) await heedSignal(signal);
    const episode = await Episode.start(environments.acquire(), level, config.protocol);
    const { tokens } = protocol.opening(protocol.firstMessages(episode));
    lengths.push(tokens.length);
    unknown.see(tokens);
    environments.release(episode.environment);
  }
  const longest = lengths.indexOf(Math.max(...lengths));
  if (protocol.fits(lengths[longest])) return;
  const { message, hint } = protocol.promptTooLong(lengths[longest], `level seed ${levels[longest].seed}`);
  const refused = lengths.filter((length) => !protocol.fits(length)).length;
  throw new SpaError("CAPACITY", `${refused} of ${levels.length} levels do not fit the context: ${message}`, {
    ...(hint !== undefined && { hint }),
  });
}

/** What random episodes with truthful replies come to. */
interface Measured {
  /** Tokens of each reply. */
  replies: number[];
  /** Episodes that ended for want of context. */
  cut: number;
}

/** Whether replies that describe the states fit, and whether episodes do. */
async function checkStates(trial: Trial, format: TurnFormat): Promise<string[]> {
  const { maxNewTokens, maxTokens } = trial.config.protocol;
  const levels = await trainingLevels(trial, { kind: "ppo" }).take(PLAYED_EPISODES, trial.signal);
  const { replies, cut } = await measure(trial, format, levels);
  const [shortest, longest] = [Math.min(...replies), Math.max(...replies)];
  const { arms, sft } = trial.config;
  // SFT on self-play would teach replies that cannot be given.
  const isTaught = format === "world-model" && hasSft(arms) && sft.data === null;
  if (shortest > maxNewTokens && isTaught) {
    throw new SpaError(
      "CAPACITY",
      `a reply that describes the states truly has ${shortest} tokens or more (the longest met: ${longest}), but protocol.maxNewTokens is ${maxNewTokens}`,
      {
        hint: `set protocol.maxNewTokens to more than ${longest}, or write states shorter (protocol.traceState)`,
      },
    );
  }
  const notes: string[] = [];
  if (longest > maxNewTokens && format === "world-model") {
    const many = replies.filter((length) => length > maxNewTokens).length;
    notes.push(
      `${many} of ${replies.length} states are too long to be described in a reply: it would have up to ${longest} tokens, protocol.maxNewTokens is ${maxNewTokens}`,
    );
  }
  if (cut > 0) {
    notes.push(
      `${cut} of ${levels.length} random episodes (${format}) end for want of context, as "context": protocol.maxTokens is ${maxTokens}`,
    );
  }
  return notes;
}

async function measure(
  { config, tokenizer, environments, unknown, signal }: Trial,
  format: TurnFormat,
  levels: readonly Level[],
): Promise<Measured> {
  const protocol = new TurnProtocol(tokenizer, config.protocol, format);
  const measured: Measured = { replies: [], cut: 0 };
  const write = randomStatesScript(config, protocol);
  const script: Script = async (episode, generator) => {
    const reply = await write(episode, generator);
    const { tokens } = encodeReply(protocol, reply);
    measured.replies.push(tokens.length);
    unknown.see(tokens);
    return reply;
  };
  const generatorOf = ({ id }: Play) => new SeededGenerator("preflight", format, id);
  for (const play of playsOf(levels)) {
    try {
      const options = { protocol, environments, plays: [play], script, generatorOf, signal };
      const [played] = await playScripted(options);
      if (outgrows(played, protocol)) measured.cut++;
    } catch (error) {
      // The first reply alone is too long; its length is known.
      if (!(error instanceof SpaError && error.code === "CAPACITY")) throw error;
      measured.cut++;
    }
  }
  return measured;
}

/** Whether a model's episode would end at one of the turns, for a reply of the greatest length finds no room there. */
function outgrows({ finish, turns, segments }: Trajectory, protocol: TurnProtocol): boolean {
  const held = turns.map(({ begin }, turn) => begin - (segments[turn] ?? 0));
  return finish === "context" || held.some((length) => !protocol.fits(length));
}
