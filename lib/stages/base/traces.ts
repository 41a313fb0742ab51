import type { Config } from "../../config/schema.ts";
import type { Level } from "../../rollout/levels.ts";
import { playsOf } from "../../rollout/player.ts";
import { randomPolicyActions } from "../../rollout/random-policy.ts";
import { playScripted, type Script } from "../../rollout/scripted.ts";
import { SeededGenerator } from "../../rollout/seeded-generator.ts";
import type { Trajectory } from "../../rollout/trajectory.ts";
import { TurnProtocol } from "../../rollout/turn-protocol.ts";
import { isAssistantRole } from "../../text/roles.ts";
import type { StateText } from "../../text/state-text.ts";
import type { TurnFormat } from "../../text/tags.ts";
import { protocolOf, type StageContext } from "../context.ts";
import { StateNoise } from "../sft/state-noise.ts";
import { type World, Worlds } from "./worlds.ts";

/** What the agent of a plain trace says after it has named where things are. */
const conclusions = [" So I go to the goal.", " I go to the goal.", " So I go.", ""];

/** Levels that are played through to learn what states look like. */
const EXPLORED_LEVELS = 100;

/** A world as its traces show it. */
interface TracedWorld extends World {
  noise: StateNoise;
}

/**
 * Traces that teach the nano model what an instruct LLM knows beforehand: both formats of turns, and how to describe a
 * state roughly, in every world and under every kind of prompt that it is to know (`base.also`, `base.promptStates`). They are
 * made so that nothing else can be learnt from them: predictions have the player on a random cell, and actions are uniform.
 */
export class TraceSource implements AsyncDisposable {
  readonly #context: StageContext;
  readonly #worlds: readonly TracedWorld[];
  /** By how prompts show the state. */
  readonly #protocols: readonly Record<TurnFormat, TurnProtocol>[];
  readonly #opened: Worlds;

  private constructor(context: StageContext, worlds: readonly TracedWorld[], opened: Worlds) {
    const { tokenizer, config } = context;
    this.#context = context;
    this.#worlds = worlds;
    this.#opened = opened;
    this.#protocols = promptProtocols(config).map((settings) => ({
      plain: new TurnProtocol(tokenizer, settings, "plain"),
      "world-model": new TurnProtocol(tokenizer, settings, "world-model"),
    }));
  }

  static async create(context: StageContext): Promise<TraceSource> {
    const opened = await Worlds.open(context, context.config.base.levels);
    try {
      const worlds: TracedWorld[] = [];
      for (const world of opened.all) {
        const noise = await learnNoise({ ...context, environments: world.environments }, world.levels);
        worlds.push({ ...world, noise });
      }
      return new TraceSource(context, worlds, opened);
    } catch (error) {
      await opened[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened[Symbol.asyncDispose]();
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
    const { environments, levels, noise } = oneOf(this.#worlds, generator);
    const protocols = oneOf(this.#protocols, generator);
    const worldModel = generator.chance(base.worldModelShare);
    const weights = Array.from({ length: protocol.maxTurns }, (_, turn) => base.turnDecay ** turn);
    const turns = generator.weighted(weights) + 1;
    const [trace] = await playScripted({
      protocol: protocols[worldModel ? "world-model" : "plain"],
      environments,
      plays: [{ id, group: id, level: generator.choice(levels) }],
      script: worldModel ? this.#worldModelReply(noise) : this.#plainReply(noise),
      generatorOf: () => generator,
      turns,
    });
    return generator.chance(base.tokenDropProbability) ? withoutOneToken(trace, generator) : trace;
  }

  #worldModelReply(noise: StateNoise): Script {
    const { base, protocol } = this.#context.config;
    return async (episode, generator) => {
      const describe = (relocate: boolean) =>
        noise.describe(episode.state, protocol.traceState, generator, {
          probability: base.corruptionProbability,
          relocate,
        });
      return {
        observation: describe(false),
        reasoning: "",
        prediction: describe(true),
        actions: await randomPolicyActions(this.#context.config, episode, generator),
      };
    };
  }

  #plainReply(noise: StateNoise): Script {
    const { reasoningCorruption } = this.#context.config.base;
    return async (episode, generator) => {
      const places = noise.coordinates(episode.state, generator, reasoningCorruption);
      return {
        reasoning: (places === "" ? "" : `\n${places}`) + generator.choice(conclusions),
        actions: await randomPolicyActions(this.#context.config, episode, generator),
      };
    };
  }
}

/** One of the items; where there is no choice, nothing is drawn. */
function oneOf<T>(items: readonly T[], generator: SeededGenerator): T {
  return items.length === 1 ? items[0] : generator.choice(items);
}

/** The run's protocol with each way in which prompts of traces show the state. */
export function promptProtocols({ base, protocol }: Pick<Config, "base" | "protocol">): Config["protocol"][] {
  const ways = base.promptStates ?? [protocol.promptState];
  return ways.map((promptState) => ({ ...protocol, promptState }));
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
    script: async (episode, random) => ({
      reasoning: "",
      actions: await randomPolicyActions(config, episode, random),
    }),
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
