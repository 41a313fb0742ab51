import type { Environment, ResetOptions } from "../../envs/environment.ts";
import { shownValue } from "../../envs/foreign-value.ts";
import { type GuardedEnvironment, guard } from "../../envs/guard.ts";
import type { StateText } from "../text/state-text.ts";
import type { Level } from "./levels.ts";
import type { Finish, Turn } from "./trajectory.ts";

/** Limits of an episode and the price of a malformed answer; see `protocol` in the configuration. */
interface EpisodeLimits {
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
type TurnOutcome = Omit<Turn, "begin" | "end" | "message">;

/** An environment in the middle of an episode, with the protocol's counters. Knows nothing of tokens. */
export class Episode {
  readonly environment: GuardedEnvironment;
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

  private constructor(environment: GuardedEnvironment, level: Level, limits: EpisodeLimits) {
    this.environment = environment;
    this.level = level;
    this.#limits = limits;
    this.state = { grid: "", structured: "" };
  }

  /**
   * Resets `environment` to `level`; the environment belongs to the episode until it ends.
   *
   * @throws SpaError BAD_ENVIRONMENT when it fails, or begins with another level
   */
  static async start(environment: Environment, level: Level, limits: EpisodeLimits): Promise<Episode> {
    const guarded = guard(environment);
    const episode = new Episode(guarded, level, limits);
    await guarded.reset({ seed: level.seed, level: level.grid });
    episode.state = episode.#render();
    if (episode.state.grid !== level.grid) await checkTaken(guarded, level, episode.state.grid);
    guarded.turn = 1;
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
      const result = await this.environment.step(action);
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
    this.environment.turn = this.turns + 1;
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

  #render(): StateText {
    return { grid: this.environment.render("grid"), structured: this.environment.render("structured") };
  }
}

/**
 * A level may be written otherwise than the environment prints it: it then decides what is printed, whatever the seed. If it
 * does not, `reset` has ignored it, and results would be those of other levels. Leaves the environment at the level.
 */
async function checkTaken(
  environment: GuardedEnvironment,
  { seed, grid }: Level,
  printed: string,
): Promise<void> {
  const gridOf = async (options: ResetOptions) => {
    await environment.reset(options);
    return environment.render("grid");
  };
  const other = seed === 0 ? 1 : seed - 1;
  const isTaken = (await gridOf({ seed: other, level: grid })) === printed;
  const isIgnored = isTaken && (await gridOf({ seed: other }).catch(() => null)) === printed;
  await environment.reset({ seed, level: grid });
  if (isTaken && !isIgnored) return;
  const problem = `reset({ seed, level }) ignores level: render("grid") is ${shownValue(printed)}, not ${shownValue(grid)}`;
  throw environment.fault(problem, "reset");
}
