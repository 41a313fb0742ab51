import { z } from "zod";
import { actionLookup } from "../actions.ts";
import type { Environment, Json, RenderMode, ResetOptions, StepResult } from "../environment.ts";
import { badLevel, listing } from "../grid-text.ts";
import {
  checkReset,
  foreignState,
  noEpisode,
  parseOptions,
  parseState,
  pcg64StateSchema,
} from "../options.ts";
import { Pcg64 } from "../rng/pcg64.ts";

const NAME = "bandit";

const arm = z.string().regex(/^\p{L}+$/u, "an arm's name is one word");

const optionsSchema = z.strictObject({
  /** The arm that always pays the same. */
  steadyArm: arm.default("Clerk"),
  steadyReward: z.number().default(0.1),
  /** The arm that pays seldom. */
  riskyArm: arm.default("Prospector"),
  riskyReward: z.number().default(1),
  riskyProbability: z.number().min(0).max(1).default(0.25),
});

/** Options of the environment; all have defaults. */
export type BanditOptions = z.input<typeof optionsSchema>;

const stateSchema = z.strictObject({
  environment: z.literal(NAME),
  level: z.string(),
  outcome: z.string().nullable(),
  generator: pcg64StateSchema,
});

interface Episode {
  /** The arms' names in the order shown. */
  level: string;
  /** The arm that was pulled and what it paid; null before that. */
  outcome: string | null;
  generator: Pcg64;
}

/**
 * A two-armed bandit of one turn, after RAGEN's: the arms' names hint at how they pay, and the agent pulls one.
 *
 * One arm pays a small amount for sure, the other a large one with some probability. `success` means that the arm with
 * the larger mean was pulled, whatever it paid. The seed decides the order of the names and the draw. Text that names
 * no arm ends the episode, too, with reward 0.
 */
export class BanditEnvironment implements Environment {
  readonly name = NAME;
  readonly actions: readonly string[];
  private readonly options: z.output<typeof optionsSchema>;
  private readonly lookup: (text: string) => number;
  private episode: Episode | null = null;

  /** @throws SpaError UNKNOWN_NAME or BAD_ARGUMENT for wrong options */
  constructor(options: BanditOptions = {}) {
    this.options = parseOptions(NAME, optionsSchema, options);
    this.actions = [this.options.steadyArm, this.options.riskyArm];
    this.lookup = actionLookup(this.actions);
  }

  instructions(): string {
    return (
      "You face a machine with two arms and may pull one of them, once. Each arm pays in its own way, and its name " +
      "hints at how. Choose the arm that pays more on average.\n" +
      `An action is one of: ${this.actions.join(", ")}.`
    );
  }

  /** The two texts that a level can be. */
  private orders(): string[] {
    return [this.actions.join(" "), [...this.actions].reverse().join(" ")];
  }

  /** @throws SpaError BAD_LEVEL for a level that is not the two arms' names separated by a space */
  reset(options: ResetOptions): string {
    const { seed, level } = checkReset(NAME, options);
    const generator = new Pcg64(seed ?? 0);
    const orders = this.orders();
    const drawn = orders[generator.random() < 0.5 ? 0 : 1];
    if (level !== undefined && !orders.includes(level.trim())) {
      const problem = `${JSON.stringify(level)} does not name the two arms`;
      throw badLevel(NAME, { line: 1, column: 1 }, problem, `write "${orders[0]}" or "${orders[1]}"`);
    }
    this.episode = { level: level?.trim() ?? drawn, outcome: null, generator };
    return this.render("grid");
  }

  /** @throws SpaError EPISODE_OVER when the arm was pulled already or no episode was started */
  step(action: string): StepResult {
    const { episode } = this;
    if (episode === null || episode.outcome !== null) {
      throw noEpisode(NAME, episode !== null);
    }
    const pulled = this.lookup(action);
    const { steadyReward, riskyReward, riskyProbability } = this.options;
    let reward = 0;
    if (pulled === 0) {
      reward = steadyReward;
    } else if (pulled === 1) {
      reward = episode.generator.random() < riskyProbability ? riskyReward : 0;
    }
    const better = riskyReward * riskyProbability > steadyReward ? 1 : 0;
    const valid = pulled >= 0;
    episode.outcome = valid ? `${this.actions[pulled]} ${reward}` : "no arm 0";
    const info = { valid, effective: valid, success: pulled === better };
    return { observation: this.render("grid"), reward, terminated: true, truncated: false, info };
  }

  render(mode: RenderMode): string {
    const { level, outcome } = this.current();
    const grid = outcome === null ? level : `${level}: ${outcome}`;
    if (mode === "grid") {
      return grid;
    }
    return `${grid}\nArms: ${listing(level.split(" "))}; pulled and paid: ${outcome ?? "none"}.`;
  }

  private current(): Episode {
    if (this.episode === null) {
      throw noEpisode(NAME, false);
    }
    return this.episode;
  }

  state(): Json {
    const { level, outcome, generator } = this.current();
    return { environment: NAME, level, outcome, generator: { ...generator.state() } };
  }

  /** @throws SpaError BAD_ARGUMENT for a state of another environment */
  restore(state: Json): void {
    const saved = parseState(NAME, stateSchema, state);
    if (!this.orders().includes(saved.level)) {
      throw foreignState(NAME, `its arms are ${saved.level}`);
    }
    const generator = new Pcg64(0);
    generator.restore(saved.generator);
    this.episode = { level: saved.level, outcome: saved.outcome, generator };
  }
}
