import type { Environment } from "../../envs/environment.ts";
import { loadAddon } from "../addon/loader.ts";
import type { Config, PpoConfig } from "../config/schema.ts";
import { type ModelConfig, nativeModelConfig } from "../formats/model-config.ts";
import { type MemoryPlan, planMemory } from "../memory/plan.ts";
import { EnvironmentPool } from "../rollout/environment-pool.ts";
import { LevelStream } from "../rollout/levels.ts";
import { playsOf } from "../rollout/player.ts";
import { randomActions } from "../rollout/random-policy.ts";
import { playScripted, type Script } from "../rollout/scripted.ts";
import { SeededGenerator } from "../rollout/seeded-generator.ts";
import { TurnProtocol } from "../rollout/turn-protocol.ts";
import type { TurnFormat } from "../text/tags.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { EstimatedModel } from "./model-shape.ts";
import { turnLimit } from "./ppo/step-limits.ts";
import { type ScheduledStage, scheduleStages } from "./schedule.ts";
import { readSftRows } from "./sft/files.ts";

/** What a run will take, roughly: from the lengths of episodes of a random player that replies in full. */
export interface RunEstimate {
  parameters: number;
  stages: StageEstimate[];
  /** Floating-point operations of the whole run: two a parameter and token forward, six in training. */
  operations: number;
  memory: MemoryPlan;
}

interface StageEstimate {
  id: string;
  tokensSampled: number;
  /** Tokens that go through training updates. */
  tokensTrained: number;
}

/** Mean lengths of an episode in tokens. */
interface EpisodeLength {
  /** All tokens. */
  total: number;
  /** Those of the agent's turns. */
  sampled: number;
}

/** Episodes that are played to learn their lengths. */
const PROBED_EPISODES = 40;

/**
 * Estimates tokens, operations and memory of a run without an engine.
 *
 * For a pretrained model every reply counts as `protocol.maxNewTokens`: how much it will say is not known. What a stage ended
 * with has learnt the form, as the nano model has.
 *
 * @param model from {@link modelForEstimates}
 */
export async function estimateRun(
  config: Config,
  { shape, tokenizer }: EstimatedModel,
  createEnvironment: () => Environment,
): Promise<RunEstimate> {
  const lengths = {
    plain: await episodeLength(config, tokenizer, createEnvironment, "plain"),
    "world-model": await episodeLength(config, tokenizer, createEnvironment, "world-model"),
  };
  const examples = await exampleCount(config);
  const stages = scheduleStages(config).map((stage) => stageEstimate(stage, config, lengths, examples));
  const parameters = parameterCount(shape);
  const sampled = stages.reduce((sum, stage) => sum + stage.tokensSampled, 0);
  const trained = stages.reduce((sum, stage) => sum + stage.tokensTrained, 0);
  return {
    parameters,
    stages,
    operations: parameters * (2 * sampled + 6 * trained),
    memory: planMemory(config, shape, config.engine.memory),
  };
}

/** Sequences that a round of SFT learns from: those of self-play, or the rows of a file. */
async function exampleCount({ selfPlay, sft }: Config): Promise<number> {
  if (sft.data !== null) return (await readSftRows(sft.data)).length;
  return selfPlay.trajectories / selfPlay.rounds;
}

/** Weights of a decoder without value head. */
export function parameterCount(shape: ModelConfig): number {
  const elements = (sizes: number[]) => sizes.reduce((product, size) => product * size, 1);
  const parameters = loadAddon().parameters(nativeModelConfig(shape), false);
  return parameters.reduce((sum, { shape: sizes }) => sum + elements(sizes), 0);
}

async function episodeLength(
  config: Config,
  tokenizer: Tokenizer,
  createEnvironment: () => Environment,
  format: TurnFormat,
): Promise<EpisodeLength> {
  const protocol = new TurnProtocol(tokenizer, config.protocol, format);
  await using pool = new EnvironmentPool(createEnvironment, { timeout: config.environment.timeout });
  const stream = new LevelStream(pool.acquire(), config.levels.trainSeed, {
    maxDistance: config.levels.maxDistance,
    source: "levels.trainSeed",
  });
  const generator = new SeededGenerator("estimate");
  const script: Script = (episode, random) => {
    const { maxActionsPerTurn } = config.protocol;
    const state = protocol.traceState(episode.state);
    const actions = randomActions(episode.environment, random, config.base.actionCounts, maxActionsPerTurn);
    return { observation: state, reasoning: format === "plain" ? state : "", prediction: state, actions };
  };
  let total = 0;
  let sampled = 0;
  const plays = playsOf(await stream.take(PROBED_EPISODES));
  const options = { protocol, environments: pool, plays, script, generatorOf: () => generator };
  for (const { tokens, turns } of await playScripted(options)) {
    const replies = turns.reduce((sum, turn) => sum + turn.end - turn.begin, 0);
    const said = config.model.kind === "pretrained" ? turns.length * config.protocol.maxNewTokens : replies;
    total += tokens.length - replies + said;
    sampled += said;
  }
  return { total: total / PROBED_EPISODES, sampled: sampled / PROBED_EPISODES };
}

function stageEstimate(
  { id, kind, format = "world-model" }: ScheduledStage,
  config: Config,
  lengths: Record<TurnFormat, EpisodeLength>,
  examples: number,
): StageEstimate {
  const length = lengths[format];
  const round = (tokensSampled: number, tokensTrained: number) => ({
    id,
    tokensSampled: Math.round(tokensSampled),
    tokensTrained: Math.round(tokensTrained),
  });
  const { base, selfPlay, sft, evaluation } = config;
  const perRound = selfPlay.trajectories / selfPlay.rounds;
  switch (kind) {
    case "base":
      return round(0, base.steps * base.batchSize * meanTraceLength(config, length));
    case "self-play":
      return round(perRound * length.sampled, 0);
    case "sft":
      return round(
        sft.epochs * sft.validationLevels * length.sampled,
        examples * (1 - sft.validationShare) * sft.epochs * length.total,
      );
    case "ppo":
      return round(...ppoTokens(config, length));
    case "evaluate": {
      const levels = evaluation.split === "test" ? config.levels.testLevels : config.levels.tuningLevels;
      return round(
        /^evaluate\/(random|optimal)/.test(id) ? 0 : levels * evaluation.samples * length.sampled,
        0,
      );
    }
  }
}

/** Traces have fewer turns than episodes. */
function meanTraceLength({ base, protocol }: Config, episode: EpisodeLength): number {
  const weights = Array.from({ length: protocol.maxTurns }, (_, turn) => base.turnDecay ** turn);
  const turns =
    weights.reduce((sum, weight, turn) => sum + weight * (turn + 1), 0) / weights.reduce((a, b) => a + b);
  return Math.min(1, turns / protocol.maxTurns) * episode.total;
}

/** Tokens that PPO samples and trains on, of its steps or as far as its budget goes. */
function ppoTokens(
  { ppo, protocol: { maxTurns } }: Config,
  length: EpisodeLength,
): [sampled: number, trained: number] {
  const { steps, validateEvery, tokenBudget } = ppo;
  const validations = validateEvery > 0 ? Math.floor(steps / validateEvery) + 1 : 0;
  const validated = validations * ppo.validationLevels * ppo.validationSamples;
  // Steps in episodes of full length: some may have fewer turns.
  const turns = Array.from({ length: steps }, (_, index) => turnLimit(index + 1, ppo, maxTurns));
  const fullSteps = turns.reduce((sum, limit) => sum + limit / maxTurns, 0);
  const sampled = (fullSteps * ppo.groups * ppo.groupSize + validated) * length.sampled;
  const trained = fullSteps * keptEpisodes(ppo) * ppo.epochs * length.total;
  const share = tokenBudget === null ? 1 : Math.min(1, tokenBudget / (sampled + trained));
  return [share * sampled, share * trained];
}

/** Episodes of a step that are trained on. */
function keptEpisodes({ groups, groupSize, filter }: PpoConfig): number {
  const share = filter.kind === "none" ? 1 : filter.value;
  return Math.max(1, Math.floor(share * groups)) * groupSize;
}
