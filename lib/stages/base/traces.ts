import type { Level } from "../../rollout/levels.ts";
import { playsOf } from "../../rollout/player.ts";
import { randomPolicyActions } from "../../rollout/random-policy.ts";
import { playScripted, type Script } from "../../rollout/scripted.ts";
import { SeededGenerator } from "../../rollout/seeded-generator.ts";
import type { StateText, Trajectory } from "../../rollout/trajectory.ts";
import type { TurnProtocol } from "../../rollout/turn-protocol.ts";
import { isAssistantRole } from "../../text/roles.ts";
import { protocolOf, type StageContext } from "../context.ts";
import { StateNoise } from "../sft/state-noise.ts";
import { trainingLevels } from "../training-levels.ts";

/** What the agent of a plain trace says after it has named where things are. */
const conclusions = [" So I move closer.", " I go to the goal.", " I move away.", ""];

/** Levels that are played through to learn what states look like. */
const EXPLORED_LEVELS = 100;

/**
 * Traces that teach the nano model what an instruct LLM knows beforehand: both formats of turns, and how to describe a
 * state roughly. They are made so that nothing else can be learnt from them: predictions have the player on a random
 * cell, and actions are uniform.
 */
export class TraceSource {
  readonly #context: StageContext;
  readonly #levels: Level[];
  readonly #noise: StateNoise;
  readonly #worldModel: TurnProtocol;
  readonly #plain: TurnProtocol;

  private constructor(context: StageContext, levels: Level[], noise: StateNoise) {
    this.#context = context;
    this.#levels = levels;
    this.#noise = noise;
    this.#worldModel = protocolOf(context, "world-model");
    this.#plain = protocolOf(context, "plain");
  }

  static async create(context: StageContext): Promise<TraceSource> {
    const stream = trainingLevels(context, { kind: "base" });
    const levels = await stream.take(context.config.base.levels, context.signal);
    return new TraceSource(context, levels, await learnNoise(context, levels));
  }

  /** The traces of one update; the same for the same step. */
  async batch(step: number): Promise<Trajectory[]> {
    const { seed, base } = this.#context.config;
    const generator = new SeededGenerator(seed, "base", "traces", step);
    const traces: Trajectory[] = [];
    for (let index = 0; index < base.batchSize; index++) traces.push(await this.#trace(generator, index));
    return traces;
  }

  async #trace(generator: SeededGenerator, id: number): Promise<Trajectory> {
    const { base, protocol } = this.#context.config;
    const worldModel = generator.chance(base.worldModelShare);
    const weights = Array.from({ length: protocol.maxTurns }, (_, turn) => base.turnDecay ** turn);
    const turns = generator.weighted(weights) + 1;
    const [trace] = await playScripted({
      protocol: worldModel ? this.#worldModel : this.#plain,
      environments: this.#context.environments,
      plays: [{ id, group: id, level: generator.choice(this.#levels) }],
      script: worldModel ? this.#worldModelReply : this.#plainReply,
      generatorOf: () => generator,
      turns,
    });
    return generator.chance(base.tokenDropProbability) ? withoutOneToken(trace, generator) : trace;
  }

  readonly #worldModelReply: Script = (episode, generator) => {
    const { base, protocol } = this.#context.config;
    const describe = (relocate: boolean) =>
      this.#noise.describe(episode.state, protocol.traceState, generator, {
        probability: base.corruptionProbability,
        relocate,
      });
    return {
      observation: describe(false),
      reasoning: "",
      prediction: describe(true),
      actions: randomPolicyActions(this.#context.config, episode, generator),
    };
  };

  readonly #plainReply: Script = (episode, generator) => {
    const { corruptionProbability } = this.#context.config.base;
    const places = this.#noise.coordinates(episode.state, generator, corruptionProbability);
    return {
      reasoning: places + generator.choice(conclusions),
      actions: randomPolicyActions(this.#context.config, episode, generator),
    };
  };
}

/** How states of an environment are described wrongly, from {@link exploreStates}. */
export async function learnNoise(context: StageContext, levels: readonly Level[]): Promise<StateNoise> {
  return new StateNoise(await exploreStates(context, levels));
}

/** Plays some levels at random and keeps every state that occurs. */
export async function exploreStates(context: StageContext, levels: readonly Level[]): Promise<StateText[]> {
  const { config, environments, signal } = context;
  const generator = new SeededGenerator(config.seed, "base", "states");
  const trajectories = await playScripted({
    protocol: protocolOf(context, "plain"),
    environments,
    plays: playsOf(levels.slice(0, EXPLORED_LEVELS)),
    script: (episode, random) => ({ reasoning: "", actions: randomPolicyActions(config, episode, random) }),
    generatorOf: () => generator,
    signal,
  });
  const turns = trajectories.flatMap((trajectory) => trajectory.turns);
  return turns.flatMap(({ stateBefore, stateAfter }) => [stateBefore, stateAfter]);
}

/** A trace that lacks one token of the agent's. */
function withoutOneToken(trace: Trajectory, generator: SeededGenerator): Trajectory {
  const places = [...trace.roles.keys()].filter((index) => isAssistantRole(trace.roles[index]));
  const dropped = generator.choice(places);
  const keep = <T extends Int32Array | Uint8Array | Float32Array>(array: T): T =>
    array.filter((_, index) => index !== dropped) as T;
  return {
    ...trace,
    tokens: keep(trace.tokens),
    roles: keep(trace.roles),
    sampled: keep(trace.sampled),
    logProbs: keep(trace.logProbs),
    segments: trace.segments.map((segment) => (segment > dropped ? segment - 1 : segment)),
  };
}
