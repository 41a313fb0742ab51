import type { Environment, StepResult } from "../../envs/environment.ts";
import { SpaError } from "../errors.ts";
import type { Level } from "./levels.ts";
import type { Finish, StateText, Turn } from "./trajectory.ts";

/** Limits of an episode and the price of a malformed answer; see `protocol` in the configuration. */
export interface EpisodeLimits {
  maxTurns: number;
  maxActions: number;
  formatPenalty: number;
}

/** What one reply asked for; a `ParsedTurn` is one. */
export interface Reply {
  valid: boolean;
  reason?: string;
  actions: readonly string[];
  observation?: string;
  prediction?: string;
}

/** What a turn brought, before it is known which tokens it is made of. */
export type TurnOutcome = Omit<Turn, "begin" | "end" | "message">;

/** An environment in the middle of an episode, with the protocol's counters. Knows nothing of tokens. */
export class Episode {
  readonly environment: Environment;
  readonly level: Level;
  /** Rewards so far, format penalties included. */
  totalReward = 0;
  success = false;
  /** Turns played. */
  turns = 0;
  /** Actions carried out. */
  actions = 0;
  /** Null while the episode goes on. */
  finish: Finish | null = null;
  state: StateText;
  readonly #limits: EpisodeLimits;

  private constructor(environment: Environment, level: Level, limits: EpisodeLimits) {
    this.environment = environment;
    this.level = level;
    this.#limits = limits;
    this.state = { grid: "", structured: "" };
  }

  /** Resets `environment` to `level`; the environment belongs to the episode until it ends. */
  static async start(environment: Environment, level: Level, limits: EpisodeLimits): Promise<Episode> {
    const episode = new Episode(environment, level, limits);
    try {
      await environment.reset({ seed: level.seed, level: level.grid });
      episode.state = episode.#render();
    } catch (error) {
      throw environmentError(error, environment, `level seed ${level.seed}, reset`);
    }
    return episode;
  }

  get actionsLeft(): number {
    return this.#limits.maxActions - this.actions;
  }

  get turnsLeft(): number {
    return this.#limits.maxTurns - this.turns;
  }

  /** Carries out the actions of one reply, as far as the limits and the environment let it. */
  async act(reply: Reply): Promise<TurnOutcome> {
    const stateBefore = this.state;
    let reward = reply.valid ? 0 : -this.#limits.formatPenalty;
    let executed = 0;
    let ended: Finish | null = null;
    for (const action of reply.actions.slice(0, this.actionsLeft)) {
      const result = await this.#step(action);
      executed++;
      reward += result.reward;
      this.success ||= result.info.success;
      if (result.terminated || result.truncated) {
        ended = result.terminated ? "terminated" : "truncated";
        break;
      }
    }
    this.turns++;
    this.actions += executed;
    this.totalReward += reward;
    this.state = executed === 0 ? stateBefore : this.#render();
    this.finish = ended ?? (this.actionsLeft <= 0 ? "actions" : this.turnsLeft <= 0 ? "turns" : null);
    return {
      reward,
      valid: reply.valid,
      ...(reply.reason !== undefined && { invalidReason: reply.reason }),
      actions: [...reply.actions],
      executed,
      stateBefore,
      stateAfter: this.state,
      ...(reply.observation !== undefined && { observation: reply.observation }),
      ...(reply.prediction !== undefined && { prediction: reply.prediction }),
      effective: stateBefore.structured !== this.state.structured,
    };
  }

  async #step(action: string): Promise<StepResult> {
    try {
      const result = await this.environment.step(action);
      if (!Number.isFinite(result.reward)) throw new TypeError(`its reward is ${result.reward}`);
      return result;
    } catch (error) {
      const where = `level seed ${this.level.seed}, turn ${this.turns + 1}, action "${action}"`;
      throw environmentError(error, this.environment, where);
    }
  }

  #render(): StateText {
    return { grid: this.environment.render("grid"), structured: this.environment.render("structured") };
  }
}

/** What an environment threw, with the place where it did. */
function environmentError(error: unknown, environment: Environment, where: string): unknown {
  if (error instanceof SpaError) return error;
  return new SpaError(
    "BAD_ENVIRONMENT",
    `${environment.name} failed at ${where}: ${(error as Error).message}`,
    {
      hint: "reset() takes a seed, a level text, or both; step() returns observation, reward, terminated, truncated, info",
      cause: error,
    },
  );
}

/** Environment objects for episodes, made when needed and used again. */
export class EnvironmentPool {
  readonly #create: () => Environment;
  readonly #idle: Environment[] = [];

  constructor(create: () => Environment) {
    this.#create = create;
  }

  acquire(): Environment {
    return this.#idle.pop() ?? this.#create();
  }

  release(environment: Environment): void {
    this.#idle.push(environment);
  }
}
