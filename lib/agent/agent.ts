import type { Environment } from "../../envs/environment.ts";
import { guard } from "../../envs/guard.ts";
import { createEnvironment } from "../../envs/index.ts";
import { checkText } from "../addon/arguments.ts";
import type { Engine } from "../engine/engine.ts";
import type { Model } from "../engine/model.ts";
import type { ResolvedConfig } from "../memory/resolve.ts";
import { environmentFactory } from "../pipeline.ts";
import { EnvironmentPool } from "../rollout/environment-pool.ts";
import { drawLevel, type Level } from "../rollout/levels.ts";
import { playTurns } from "../rollout/player.ts";
import { seedOf } from "../rollout/seeded-generator.ts";
import type { Trajectory, Turn } from "../rollout/trajectory.ts";
import { type Position, TurnProtocol } from "../rollout/turn-protocol.ts";
import { Sampler } from "../sampling/sampler.ts";
import type { InvalidReason } from "../text/parse.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type LoadAgentOptions, type LoadedPolicy, loadPolicy } from "./load.ts";
import { SamplingSpeaker } from "./sampling-speaker.ts";

/** How a reply is sampled. */
export interface SamplingOptions {
  /** 1 by default; 0 is greedy. */
  temperature?: number;
  /** Equal seeds give equal replies to equal prompts; by default each reply has another one, by its number. */
  seed?: number;
  signal?: AbortSignal | undefined;
}

/** What an agent answers to a state. */
export interface Act {
  /** What the answer asks for, in the environment's spelling; empty where it cannot be read. */
  actions: string[];
  /** The first of them; null where there is none. */
  action: string | null;
  /** The reply is well-formed, and every action of it is known. */
  valid: boolean;
  invalidReason?: InvalidReason;
  /** Text of the reply without its end token; a forced beginning included. */
  reply: string;
  reasoning: string;
  /** The state that the agent sees, and the one that it expects after its actions: in world-model format. */
  observation?: string;
  prediction?: string;
  /** The messages that the reply answers. */
  messages: { system: string | null; user: string };
  /** [prompt tokens] what the model was given. */
  prompt: Int32Array;
  /** [tokens] what it sampled, the end token included. */
  tokens: Int32Array;
  /** [tokens] a `Role` of each. */
  roles: Uint8Array;
  /** [tokens] log p of each under the policy and temperature that sampled it. */
  logProbs: Float32Array;
}

export interface PlayLevelOptions extends SamplingOptions {
  /** A level by its seed, as text, or drawn; by default the first of the test levels (`levels.testSeed`). */
  level?: number | string | Level;
  /** Told of each turn when it has been played; what it returns is waited for. */
  onTurn?: (turn: Turn, number: number) => void | Promise<void>;
}

/**
 * A trained policy, ready to be asked: model, prompts and environment of a run, of a model's folder or of a model on the Hub.
 *
 * Calls that are made at the same time are sampled together, and what a prompt has in common with an earlier one is computed
 * once. The model may be trained between calls.
 */
export class Agent implements AsyncDisposable {
  readonly name: string;
  /** Where its weights come from. */
  readonly folder: string;
  readonly config: ResolvedConfig;
  readonly protocol: TurnProtocol;
  readonly engine: Engine;
  readonly model: Model;
  readonly #ownsEngine: boolean;
  #sampler: Promise<Sampler> | undefined;
  #environments: Promise<EnvironmentPool> | undefined;
  #replies = 0;

  private constructor({ name, folder, config, tokenizer, format, ...parts }: LoadedPolicy) {
    this.name = name;
    this.folder = folder;
    this.config = config;
    this.protocol = new TurnProtocol(tokenizer, config.protocol, format);
    this.engine = parts.engine;
    this.model = parts.model;
    this.#ownsEngine = parts.ownsEngine;
  }

  /**
   * @param source a run folder, a folder with a model or an adapter, or a Hub id
   * @throws SpaError BAD_CHECKPOINT, UNKNOWN_NAME, UNTRUSTED, BAD_TOKENIZER, BAD_CONFIG, HUB_NOT_FOUND, OUT_OF_MEMORY, ADDON_MISSING, …
   */
  static async load(source: string, options: LoadAgentOptions = {}): Promise<Agent> {
    return new Agent(await loadPolicy(checkText(source, "source"), options));
  }

  get tokenizer(): Tokenizer {
    return this.protocol.tokenizer;
  }

  /**
   * Answers a state, as the first turn of an episode.
   *
   * @param state the state's text, for the environment that the agent was trained on; or an environment as it stands, which
   * stays as it is; or a place in the middle of an episode
   * @throws SpaError CAPACITY where the prompt leaves no room for a reply; BAD_ENVIRONMENT, ABORTED, NOT_FINITE
   */
  async act(state: string | Environment | Position, options: SamplingOptions = {}): Promise<Act> {
    const position = await this.#positionOf(state);
    const { protocol } = this;
    const messages = protocol.firstMessages(position);
    const { tokens: prompt } = protocol.opening(messages);
    if (!protocol.fits(prompt.length)) throw protocol.promptTooLong(prompt.length, "this state");
    const sampler = await this.sampler();
    const { tokens, logProbs } = await sampler.sample({
      prompt,
      maxNewTokens: protocol.settings.maxNewTokens,
      temperature: options.temperature,
      stopTokens: protocol.chat.stopTokens,
      stream: this.#stream(options),
      signal: options.signal,
    });
    const { parsed, roles, text } = protocol.read(tokens, position.environment);
    const { actions, valid, reason, reasoning, observation, prediction } = parsed;
    return {
      ...{ actions, action: actions[0] ?? null, valid },
      ...(reason !== undefined && { invalidReason: reason }),
      ...{ reply: text, reasoning },
      ...(observation !== undefined && { observation }),
      ...(prediction !== undefined && { prediction }),
      ...{ messages, prompt, tokens, roles, logProbs },
    };
  }

  /**
   * Plays a level to its end.
   *
   * @param environment an environment of one's own, the name of a registered one, or (by default) one of the kind that the agent
   * was trained on
   * @throws SpaError BAD_LEVEL, BAD_ENVIRONMENT, UNKNOWN_NAME, CAPACITY where the first prompt leaves no room, ABORTED, NOT_FINITE
   */
  async play(environment?: string | Environment, options: PlayLevelOptions = {}): Promise<Trajectory> {
    const { level, onTurn, temperature = 1, signal } = options;
    const own = typeof environment === "object";
    const environments = own
      ? new EnvironmentPool(() => environment)
      : await this.environmentsOf(environment ?? this.config.environment.name);
    try {
      const drawing = environments.acquire();
      const drawn = await levelOf(drawing, level ?? this.config.levels.testSeed);
      environments.release(drawing);
      const { maxTurns, context } = this.protocol.settings;
      const key = this.#stream(options);
      const speaker = new SamplingSpeaker(await this.sampler(), this.protocol, {
        ...{ temperature, signal, onTurn },
        // With a prompt of its own for each turn, positions repeat: every turn needs a stream of its own too.
        streamOf: ({ turns }) => (context === "episode" ? key : seedOf(key, "turn", turns.length)),
      });
      const plays = [{ id: 0, group: 0, level: drawn }];
      const playing = { protocol: this.protocol, environments, plays, slots: 1, turns: maxTurns, signal };
      const [trajectory] = await playTurns(speaker, playing);
      await speaker.tell(trajectory.turns);
      return trajectory;
    } finally {
      if (!own && environments !== (await this.#environments)) await environments.close();
    }
  }

  /** The sampler that calls share; open it yourself to sample behind prompts of your own. */
  sampler(): Promise<Sampler> {
    const { model, config, protocol } = this;
    this.#sampler ??= Sampler.open({
      model,
      slots: config.engine.rolloutSlots,
      maxTokens: protocol.settings.maxTokens,
      seed: config.seed,
    });
    return this.#sampler;
  }

  /**
   * Environments of a kind. Those of the agent's own kind are shared and end with it, others are the caller's to close.
   *
   * @throws SpaError UNKNOWN_NAME, BAD_ENVIRONMENT
   */
  async environmentsOf(name: string): Promise<EnvironmentPool> {
    const { environment } = this.config;
    const { timeout } = environment;
    if (name !== environment.name) return new EnvironmentPool(() => createEnvironment(name), { timeout });
    this.#environments ??= environmentFactory(this.config).then(
      (create) => new EnvironmentPool(create, { timeout }),
    );
    return await this.#environments;
  }

  async #positionOf(state: string | Environment | Position): Promise<Position> {
    if (typeof state === "object" && "environment" in state) return state;
    const fresh = { turns: 0, actionsLeft: this.config.protocol.maxActions };
    if (typeof state === "object") {
      const environment = guard(state);
      const shown = { grid: environment.render("grid"), structured: environment.render("structured") };
      return { environment, state: shown, ...fresh };
    }
    checkText(state, "state");
    const environments = await this.environmentsOf(this.config.environment.name);
    const environment = environments.acquire();
    environments.release(environment);
    return { environment, state: { grid: state, structured: state }, ...fresh };
  }

  #stream({ seed }: SamplingOptions): number {
    return seed === undefined ? seedOf("reply", this.#replies++) : seedOf("reply of a seed", seed);
  }

  /** Ends the agent with its model, and with its engine where that is its own. */
  async dispose(): Promise<void> {
    await (await this.#sampler?.catch(() => undefined))?.dispose();
    await (await this.#environments?.catch(() => undefined))?.close();
    await this.model.dispose();
    if (this.#ownsEngine) await this.engine.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

/** The level that a caller means. */
export async function levelOf(environment: Environment, level: number | string | Level): Promise<Level> {
  if (typeof level === "object") return level;
  if (typeof level === "number") return await drawLevel(environment, level);
  await environment.reset({ level });
  return { seed: 0, grid: level, distance: environment.shortestSolution?.() ?? null };
}
