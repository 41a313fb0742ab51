import { z } from "zod";
import type { Environment, Json, RenderMode, ResetOptions, StepResult } from "../environment.ts";
import { badLevel, levelLines, listing } from "../grid-text.ts";
import { checkReset, noEpisode, parseOptions, parseState } from "../options.ts";
import { PythonRandom } from "../rng/python-random.ts";
import { apply, evaluate, type Fraction, isReachable, OPERATORS } from "./arithmetic.ts";

const NAME = "countdown";
const MAX_NUMBERS = 5;
const REWARD_WRONG_TOTAL = 0.1;

const optionsSchema = z.strictObject({
  /** How many numbers a puzzle drawn from a seed has. */
  numbers: z.int().min(2).max(MAX_NUMBERS).default(4),
  /** The largest number drawn. */
  largest: z.int().min(2).max(1000).default(20),
});

/** Options of the environment; all have defaults. */
export type CountdownOptions = z.input<typeof optionsSchema>;

const stateSchema = z.strictObject({
  environment: z.literal(NAME),
  numbers: z.array(z.int().min(1)).min(2).max(MAX_NUMBERS),
  target: z.int().min(1),
  answer: z.string().nullable(),
});

interface Episode {
  numbers: number[];
  target: number;
  /** The expression given; null before that. */
  answer: string | null;
}

/**
 * The numbers game of one turn, after RAGEN's: combine all numbers, each once, by + - * / to hit the target.
 *
 * Reward 1 for the target, 0.1 for an expression that uses exactly the numbers but misses it, else 0. An action is the
 * expression; whatever it is, it ends the episode.
 */
export class CountdownEnvironment implements Environment {
  readonly name = NAME;
  readonly actions: readonly string[] = [];
  private readonly options: z.output<typeof optionsSchema>;
  private episode: Episode | null = null;

  /** @throws SpaError UNKNOWN_NAME or BAD_ARGUMENT for wrong options */
  constructor(options: CountdownOptions = {}) {
    this.options = parseOptions(NAME, optionsSchema, options);
  }

  instructions(): string {
    return (
      "You are given some numbers and a target. Combine all the numbers, each exactly once, by + - * / and brackets " +
      "so that the result is the target. You have one try.\n" +
      'The state "2 3 4 = 20" means: make 20 of 2, 3 and 4. An action is an expression, here "(2 + 3) * 4".'
    );
  }

  /** @throws SpaError BAD_LEVEL for a level that is malformed or has no solution */
  reset(options: ResetOptions): string {
    const { seed, level } = checkReset(NAME, options);
    this.episode = { ...(level === undefined ? this.drawn(seed ?? 0) : readLevel(level)), answer: null };
    return this.render("grid");
  }

  /** Draws numbers and combines them at random; a total that is a whole number above 0 becomes the target. */
  private drawn(seed: number): Omit<Episode, "answer"> {
    const random = new PythonRandom(seed);
    for (;;) {
      const numbers = Array.from({ length: this.options.numbers }, () =>
        random.randint(1, this.options.largest),
      );
      let total: Fraction | null = { top: numbers[0], bottom: 1 };
      for (const number of numbers.slice(1)) {
        const operator = random.choice(OPERATORS);
        total = total === null ? null : apply(operator, total, { top: number, bottom: 1 });
      }
      if (total !== null && total.bottom === 1 && total.top > 0) {
        random.shuffle(numbers);
        return { numbers, target: total.top };
      }
    }
  }

  /** @throws SpaError EPISODE_OVER when there was an answer already or no episode was started */
  step(action: string): StepResult {
    const { episode } = this;
    if (episode === null || episode.answer !== null) {
      throw noEpisode(NAME, episode !== null);
    }
    const evaluated = evaluate(action);
    const wanted = [...episode.numbers].sort().join();
    const valid = evaluated !== null && [...evaluated.numbers].sort().join() === wanted;
    const { top, bottom } = evaluated?.value ?? { top: 0, bottom: 0 };
    const success = valid && bottom === 1 && top === episode.target;
    episode.answer = valid ? String(action).split("=")[0].trim() : "";
    return {
      observation: this.render("grid"),
      reward: success ? 1 : valid ? REWARD_WRONG_TOTAL : 0,
      terminated: true,
      truncated: false,
      info: { valid, effective: valid, success },
    };
  }

  render(mode: RenderMode): string {
    const { numbers, target, answer } = this.current();
    const grid = `${numbers.join(" ")} = ${target}${answer === null ? "" : `: ${answer || "no answer"}`}`;
    return mode === "grid" ? grid : `${grid}\nNumbers: ${listing(numbers.map(String))}; target: ${target}.`;
  }

  private current(): Episode {
    if (this.episode === null) {
      throw noEpisode(NAME, false);
    }
    return this.episode;
  }

  state(): Json {
    const { numbers, target, answer } = this.current();
    return { environment: NAME, numbers, target, answer };
  }

  /** @throws SpaError BAD_ARGUMENT for a state of another environment */
  restore(state: Json): void {
    const { numbers, target, answer } = parseState(NAME, stateSchema, state);
    this.episode = { numbers, target, answer };
  }
}

function readLevel(level: string): Omit<Episode, "answer"> {
  const lines = levelLines(level);
  const form = `write 2 to ${MAX_NUMBERS} numbers and the target, for example "2 3 4 = 20"`;
  const match = /^\s*([1-9]\d{0,5}(?:\s+[1-9]\d{0,5})+)\s*=\s*([1-9]\d{0,15})\s*$/.exec(lines[0]);
  const numbers = match?.[1].split(/\s+/).map(Number) ?? [];
  if (match === null || numbers.length > MAX_NUMBERS) {
    throw badLevel(NAME, { line: 1, column: 1 }, `${JSON.stringify(lines[0])} is no puzzle`, form);
  }
  if (lines.length > 1) {
    throw badLevel(NAME, { line: 2, column: 1 }, "a second line", form);
  }
  const target = Number(match[2]);
  if (!Number.isSafeInteger(target)) {
    const place = { line: 1, column: lines[0].indexOf(match[2]) + 1 };
    throw badLevel(
      NAME,
      place,
      `the target ${match[2]} is too large`,
      `the largest is ${Number.MAX_SAFE_INTEGER}`,
    );
  }
  const fractions = numbers.map((number) => ({ top: number, bottom: 1 }));
  if (!isReachable(fractions, target)) {
    const place = { line: 1, column: lines[0].indexOf("=") + 1 };
    throw badLevel(
      NAME,
      place,
      `${target} cannot be made of ${listing(numbers.map(String))}`,
      "change the target",
    );
  }
  return { numbers, target };
}
