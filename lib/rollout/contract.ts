import type { ResetOptions } from "../../envs/environment.ts";
import { shownValue } from "../../envs/foreign-value.ts";
import type { GuardedEnvironment } from "../../envs/guard.ts";
import { SpaError } from "../errors.ts";
import type { EnvironmentPool } from "./environment-pool.ts";
import { type Level, LevelStream } from "./levels.ts";
import { randomActions } from "./random-policy.ts";
import { SeededGenerator } from "./seeded-generator.ts";
import type { TurnProtocol } from "./turn-protocol.ts";

// What an environment promises beyond the types of its answers, tried out by playing at random. The draws are the checks'
// own: they change no number of a run.

/** What a check of an environment found. */
export interface Finding {
  check: string;
  verdict: "ok" | "note" | "fault";
  found: string;
  hint?: string | undefined;
  /** A fault that takes nothing from a run but that it can be reproduced, or what it does not use. */
  bearable?: boolean;
  /** What was thrown, where something was. */
  error?: SpaError;
}

/** What checks play with. */
export interface Trial {
  /** Two environments are used at once. */
  environments: EnvironmentPool;
  protocol: TurnProtocol;
  /** Seed of the first level. */
  seed: number;
  /** Levels that each check looks at, two or more. */
  levels: number;
}

type Outcome = Omit<Finding, "check">;

/** What a check works with: two environments, and levels drawn with the first. */
interface Bench extends Trial {
  one: GuardedEnvironment;
  other: GuardedEnvironment;
  drawn: Level[];
}

const ok = (found: string): Outcome => ({ verdict: "ok", found });
const fault = (found: string, hint: string, bearable = false): Outcome => ({
  verdict: "fault",
  found,
  hint,
  bearable,
});

/** Tries one thing after another. What a check throws is its finding, and those that follow are tried all the same. */
export async function* checkContract(trial: Trial): AsyncGenerator<Finding> {
  const { environments, seed, levels } = trial;
  const [one, other] = [environments.acquire(), environments.acquire()];
  yield await finding("interface", () => checkInterface(one, trial));
  let drawn: Level[] = [];
  const draw = async () => {
    drawn = await new LevelStream(one, seed).take(levels);
    return checkSeeds({ ...trial, one, other, drawn });
  };
  yield await finding("seeds", draw);
  if (drawn.length === 0) return;
  const bench = { ...trial, one, other, drawn };
  yield await finding("levels", () => checkLevels(bench));
  const repeats = await finding("steps", () => checkSteps(bench));
  yield repeats;
  if (repeats.error === undefined) {
    yield await finding("views", () => checkViews(bench));
    yield await finding("odd actions", () => checkOddActions(bench));
  }
  if (repeats.verdict === "ok") {
    yield await finding("two at once", () => checkTogether(bench));
    yield await finding("state", () => checkState(bench));
  }
  environments.release(one);
  environments.release(other);
}

/** What a check came to; what an environment did wrong in it is a fault. */
export async function finding(check: string, run: () => Outcome | Promise<Outcome>): Promise<Finding> {
  try {
    return { check, ...(await run()) };
  } catch (error) {
    if (!(error instanceof SpaError)) throw error;
    return { check, verdict: "fault", found: error.message, hint: error.hint, error };
  }
}

/** Texts that agents come to write. */
const oddTexts = ["", " ", "?", "{", "null", "1,2", "-1", "\u00e4 \u{1f642}", "x".repeat(2000)];

function checkInterface(environment: GuardedEnvironment, { protocol }: Trial): Outcome {
  const { actions, parseAction } = environment;
  const { length } = environment.instructions();
  protocol.checkActions(environment);
  for (const text of parseAction ? oddTexts : []) parseAction?.(text);
  const unread = parseAction && actions.find((action) => parseAction(action) === null);
  if (unread !== undefined) {
    const found = `parseAction(${shownValue(unread)}) gives null for an action of the environment's own list`;
    return fault(found, "parseAction must read every text in actions");
  }
  const list = actions.length === 0 ? "free text as actions" : `${actions.length} actions`;
  return ok(`${list}, instructions of ${length} characters`);
}

async function gridAt(environment: GuardedEnvironment, options: ResetOptions): Promise<string> {
  await environment.reset(options);
  return environment.render("grid");
}

async function checkSeeds({ one, other, drawn }: Bench): Promise<Outcome> {
  for (const environment of [other, one]) {
    for (const { seed, grid } of [...drawn].reverse()) {
      const again = await gridAt(environment, { seed });
      if (again === grid) continue;
      const found = `reset({ seed: ${seed} }) gives another level each time: ${shownValue(grid)}, then ${shownValue(again)}`;
      return fault(found, "draw the level from the seed alone, with a generator of the environment's own");
    }
  }
  const distinct = new Set(drawn.map(({ grid }) => grid)).size;
  return ok(`${drawn.length} seeds give their levels again (${distinct} distinct)`);
}

async function checkLevels({ one, drawn }: Bench): Promise<Outcome> {
  const hint = "a level text decides what an episode begins with; the seed decides what is random after that";
  for (const [index, { seed, grid }] of drawn.entries()) {
    const another = drawn[(index + 1) % drawn.length].seed;
    const ways: [options: ResetOptions, text: string][] = [
      [{ seed, level: grid }, `{ seed: ${seed}, level }`],
      [{ seed: another, level: grid }, `{ seed: ${another}, level }`],
      [{ level: grid }, "{ level }"],
    ];
    for (const [way, [options, text]] of ways.entries()) {
      const shown = await gridAt(one, options);
      if (shown === grid) continue;
      const found = `reset(${text}) ignores level: render("grid") is ${shownValue(shown)}, not ${shownValue(grid)}`;
      return fault(found, hint, way > 0);
    }
  }
  const [{ seed, grid }] = drawn;
  if ((await one.reset({ seed })) === grid)
    return ok(`${drawn.length} levels are taken back as they are printed`);
  return {
    verdict: "note",
    found: 'reset() returns another text than render("grid"), which is what a level is',
  };
}

async function checkViews({ one, drawn }: Bench): Promise<Outcome> {
  for (const level of drawn) {
    const play = await Playthrough.begin(one, level);
    for (const when of ["at the start", "after a step"]) {
      const views = () => [one.render("grid"), one.render("structured")];
      const [[grid, structured], again] = [views(), views()];
      if (grid !== again[0] || structured !== again[1]) {
        const found = `render() gives another text each time, level seed ${level.seed}, ${when}`;
        return fault(found, "the same state must be the same text: states are compared by it");
      }
      if (when === "at the start") await play.step();
    }
    if (!one.render("structured").startsWith(one.render("grid"))) {
      const found = 'render("structured") does not begin with the text of render("grid")';
      return { verdict: "note", found: `${found}: coordinates are not told from the grid` };
    }
  }
  return ok('"grid" and "structured" stay as they are until a step');
}

async function checkOddActions({ one, drawn }: Bench): Promise<Outcome> {
  // Where actions are listed or read by the environment, no other text reaches it in a run.
  const bearable = one.actions.length > 0 || one.parseAction !== undefined;
  for (const text of oddTexts) {
    await one.reset({ seed: drawn[0].seed });
    try {
      await one.step(text);
    } catch (error) {
      if (!(error instanceof SpaError)) throw error;
      return fault(
        error.message,
        "step() takes any text: info.valid is false where it is no action",
        bearable,
      );
    }
  }
  return ok("step() takes texts that are no actions");
}

/** Steps after which a trial of an episode ends. */
const MAX_STEPS = 40;

/** An action, and what it came to; the action of the first record is `reset`. */
type StepRecord = Record<string, string | number | boolean>;

/** An episode of random actions, written down. */
class Playthrough {
  readonly records: StepRecord[] = [];
  readonly #environment: GuardedEnvironment;
  readonly #generator: SeededGenerator;
  over = false;

  constructor(environment: GuardedEnvironment, generator: SeededGenerator) {
    this.#environment = environment;
    this.#generator = generator;
  }

  /** An episode at a level. Equal levels get equal actions. */
  static async begin(environment: GuardedEnvironment, { seed, grid }: Level): Promise<Playthrough> {
    await environment.reset({ seed, level: grid });
    const play = new Playthrough(environment, new SeededGenerator("environment check", seed));
    play.#write("reset", {});
    return play;
  }

  /** The same episode in another object, which is at the same point; what follows is written down alone. */
  branch(environment: GuardedEnvironment): Playthrough {
    const generator = new SeededGenerator();
    generator.restore(this.#generator.state());
    return new Playthrough(environment, generator);
  }

  async step(): Promise<void> {
    const [action] = randomActions(this.#environment, this.#generator, [1], 1);
    const { observation, reward, terminated, truncated, info } = await this.#environment.step(action);
    const { valid, effective, success } = info;
    this.#write(action, { observation, reward, terminated, truncated, valid, effective, success });
    this.over = terminated || truncated || this.records.length > MAX_STEPS;
  }

  async toEnd(): Promise<StepRecord[]> {
    while (!this.over) await this.step();
    return this.records;
  }

  #write(action: string, result: StepRecord): void {
    const [grid, structured] = [this.#environment.render("grid"), this.#environment.render("structured")];
    this.records.push({ action, ...result, grid, structured });
  }
}

/** The first step in which two episodes differ, in words; null if none does. `begun`: the number of the first. */
function difference(first: readonly StepRecord[], second: readonly StepRecord[], begun = 0): string | null {
  for (const [index, record] of first.entries()) {
    const name = Object.keys(record).find((key) => record[key] !== second[index]?.[key]);
    if (name === undefined) continue;
    const then = shownValue(second[index]?.[name]);
    return `step ${begun + index}, ${shownValue(record.action)}: ${name} is ${shownValue(record[name])}, then ${then}`;
  }
  return null;
}

const SEEDED =
  "draw what is random from a generator of the object that reset() seeds: otherwise no run can be reproduced";

async function checkSteps({ one, other, drawn }: Bench): Promise<Outcome> {
  let steps = 0;
  for (const level of drawn) {
    const first = await (await Playthrough.begin(one, level)).toEnd();
    for (const environment of [other, one]) {
      const differs = difference(first, await (await Playthrough.begin(environment, level)).toEnd());
      if (differs === null) continue;
      const found = `equal seed and actions come to different ends: level seed ${level.seed}, ${differs}`;
      return fault(found, SEEDED, true);
    }
    steps += first.length - 1;
  }
  return ok(`${steps} steps are the same when they are played again`);
}

/** Two episodes, their steps by turns. */
async function playTogether({ one, other }: Bench, levels: readonly [Level, Level]): Promise<StepRecord[][]> {
  const plays = [await Playthrough.begin(one, levels[0]), await Playthrough.begin(other, levels[1])];
  while (plays.some(({ over }) => !over)) {
    for (const play of plays) if (!play.over) await play.step();
  }
  return plays.map(({ records }) => records);
}

async function checkTogether(bench: Bench): Promise<Outcome> {
  const { one, other, drawn } = bench;
  const levels = [drawn[0], drawn.find(({ grid }) => grid !== drawn[0].grid) ?? drawn[1]] as const;
  const alone = [
    await (await Playthrough.begin(one, levels[0])).toEnd(),
    await (await Playthrough.begin(other, levels[1])).toEnd(),
  ];
  const together = await playTogether(bench, levels);
  const index = alone.findIndex((records, place) => difference(records, together[place]) !== null);
  if (index < 0) return ok("two episodes side by side are as each alone");
  const again = await playTogether(bench, levels);
  const where = `level seed ${levels[index].seed}, ${difference(alone[index], together[index])}`;
  // What objects share comes out the same each time; what does not was drawn from somewhere.
  if (again.some((records, place) => difference(records, together[place]) !== null)) {
    return fault(`equal seed and actions come to different ends: ${where}`, SEEDED, true);
  }
  const hint = "keep all state in the object that create() returns, none in the module";
  return fault(`two objects share state: played alone and beside another, ${where}`, hint);
}

async function checkState({ one, other, drawn }: Bench): Promise<Outcome> {
  const hint = "state() must hold all that restore() needs, generators of random numbers included";
  for (const level of drawn) {
    const play = await Playthrough.begin(one, level);
    const { length } = await (await Playthrough.begin(other, level)).toEnd();
    while (play.records.length < length / 2) await play.step();
    const saved = JSON.stringify(one.state());
    const played = play.records.length;
    const branches = [other, one].map((environment) => ({ environment, branch: play.branch(environment) }));
    const expected = (await play.toEnd()).slice(played);
    for (const { environment, branch } of branches) {
      environment.restore(JSON.parse(saved));
      const differs = difference(expected, await branch.toEnd(), played);
      if (differs === null) continue;
      return fault(
        `restore(state()) is not where state() was: level seed ${level.seed}, ${differs}`,
        hint,
        true,
      );
    }
  }
  return ok("an episode goes on from a state in its middle, in another object and in the same");
}
