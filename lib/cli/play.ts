import { createInterface } from "node:readline";
import { type Command, InvalidArgumentError } from "commander";
import { Agent, type PlayLevelOptions } from "../agent/agent.ts";
import { playByHand } from "../agent/play-by-hand.ts";
import { formatTurnStates } from "../report/trajectory-text.ts";
import { formatNumber, viewStates } from "../report/trajectory-view.ts";
import type { Trajectory, Turn } from "../rollout/trajectory.ts";
import { visibleText } from "../visible-text.ts";
import { lastRun } from "./find-run.ts";
import { addPolicyOptions, loadOptions, type PolicyOptionValues } from "./policy-options.ts";
import { print, printPainted } from "./print.ts";
import { colorWanted } from "./show.ts";

interface PlayOptions extends PolicyOptionValues {
  level?: string;
  env?: string;
  samplingSeed: number;
  temperature: number;
  human?: boolean;
  pause: boolean;
}

const help = `
Shows each turn's state before and after, what the agent saw and what it expected. On a terminal it waits for Enter after each
turn. With --human you play the level first, then the policy.

Examples:
  spa play                                     the last run's policy on its first test level
  spa play runs/first --level 130 --human
  spa play runs/first --stage spa/sft --level "P___
  _O__
  ____
  ___G"
  spa play Qwen/Qwen2.5-0.5B-Instruct --set environment.name=sokoban`;

function temperature(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError("It must be a number, 0 or more.");
  return value;
}

function seed(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError("It must be a whole number, 0 or more.");
  return value;
}

/** `spa play`. */
export function addPlayCommand(program: Command, finish: (code: number) => void): void {
  addPolicyOptions(
    program
      .command("play")
      .description("watch a policy play a level, or play it yourself first")
      .argument("[policy]", "a run folder, a model's folder or a Hub id (default: the run started last)"),
  )
    .option("--level <level>", "a level's seed, or the level as text (default: the first test level)")
    .option("--sampling-seed <number>", "seed of what the policy samples", seed, 0)
    .option("--temperature <number>", "sampling temperature; 0: the likeliest token", temperature, 1)
    .option("--human", "play the level yourself, then watch the policy play it")
    .option("--no-pause", "do not wait for Enter after each turn")
    .addHelpText("after", help)
    .action(async (source: string | undefined, options: PlayOptions) => {
      await play(source ?? lastRun(), options);
      finish(0);
    });
}

async function play(source: string, options: PlayOptions): Promise<void> {
  await using agent = await Agent.load(source, loadOptions(options));
  using keyboard = new Keyboard();
  const level = levelOption(options.level);
  const waits = options.pause && keyboard.isTerminal && process.stdout.isTTY === true;
  const { name } = agent.config.environment;
  let mine: Trajectory | undefined;
  if (options.human) {
    print(`${name}: you play. ${agent.protocol.settings.maxTurns} turns; actions are separated by ||\n`);
    mine = await playByHand(agent, { level, ask: (...asked) => askActions(keyboard, ...asked) });
    print(`you: ${outcomeOf(mine)}\n`);
  }
  print(`${name}: ${agent.name} plays`);
  const onTurn = async (turn: Turn, number: number) => {
    print(`\n── turn ${number} ──`);
    showTurn(agent, turn);
    if (waits) await keyboard.line("Enter: go on ");
  };
  const { samplingSeed, temperature: t } = options;
  const trajectory = await agent.play(undefined, { level, seed: samplingSeed, temperature: t, onTurn });
  print(`\n${agent.name}: ${outcomeOf(trajectory)}`);
  if (mine) print(`you: ${outcomeOf(mine)}`);
}

function showTurn(agent: Agent, turn: Turn): void {
  const states = viewStates(turn, agent.protocol.settings.traceState);
  printPainted(formatTurnStates(states, { color: colorWanted(process.env, process.stdout.isTTY) }));
}

/** A seed where it is a number, else a level's text. */
function levelOption(text: string | undefined): PlayLevelOptions["level"] {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : text;
}

function outcomeOf({ success, totalReward, turns, seed: level, distance }: Trajectory): string {
  const least = distance === null ? "" : `, shortest solution ${distance}`;
  return `${success ? "solved" : "not solved"} in ${turns.length} turn${turns.length === 1 ? "" : "s"}, reward ${formatNumber(totalReward)} (level seed ${level}${least})`;
}

/** Nothing where the input has ended: the turns that are left pass. */
async function askActions(
  keyboard: Keyboard,
  state: string,
  actions: readonly string[],
  wrong: string | null,
): Promise<string> {
  print(wrong ?? `\n${state}`);
  const known = actions.length > 0 ? ` (${actions.join(", ")})` : "";
  return (await keyboard.line(`your actions${known}: `)) ?? "";
}

/** Lines of standard input, from a terminal, a pipe or a file. */
class Keyboard implements Disposable {
  readonly isTerminal = process.stdin.isTTY === true;
  readonly #interface = createInterface({ input: process.stdin });
  readonly #lines = this.#interface[Symbol.asyncIterator]();

  /** The next line; undefined where there is no more. */
  async line(prompt: string): Promise<string | undefined> {
    process.stdout.write(visibleText(prompt));
    const { value, done } = await this.#lines.next();
    if (!this.isTerminal) process.stdout.write("\n");
    return done ? undefined : value;
  }

  [Symbol.dispose](): void {
    this.#interface.close();
  }
}
