import type { Environment } from "../../envs/environment.ts";
import { shownError } from "../../envs/foreign-value.ts";
import type { Config } from "../config/schema.ts";
import { heedSignal, SpaError } from "../errors.ts";
import { checkContract, type Finding, finding } from "../rollout/contract.ts";
import { EnvironmentPool } from "../rollout/environment-pool.ts";
import { LevelStream } from "../rollout/levels.ts";
import { playsOf } from "../rollout/player.ts";
import { randomActions, randomStatesScript } from "../rollout/random-policy.ts";
import { playScripted } from "../rollout/scripted.ts";
import { SeededGenerator } from "../rollout/seeded-generator.ts";
import type { Trajectory } from "../rollout/trajectory.ts";
import { TurnProtocol } from "../rollout/turn-protocol.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { bootstrapIntervals } from "./evaluate/pass-rates.ts";

/** Levels that the quick part of the check looks at, and the whole check. */
const QUICK_LEVELS = 3;
const LEVELS = 20;

/** Random episodes of the whole check, and how many are played at once. */
const EPISODES = 200;
const EPISODES_AT_ONCE = 20;

/** Milliseconds for which steps are counted. */
const TIMED = 300;
const STEPS_TIMED = 40;

/**
 * The quick part of the check, before anything is trained: what an environment promises, on a few levels.
 *
 * @param note told what a run can bear, and what it means for it
 * @throws SpaError ABORTED, BAD_ENVIRONMENT, or what the environment threw
 */
export async function tryEnvironment(
  config: Config,
  tokenizer: Tokenizer,
  createEnvironment: () => Environment,
  { note, signal }: { note: (text: string) => void; signal?: AbortSignal | undefined },
): Promise<void> {
  const { name, timeout } = config.environment;
  await using environments = new EnvironmentPool(createEnvironment, { timeout });
  const protocol = new TurnProtocol(tokenizer, config.protocol, "world-model");
  const trial = { environments, protocol, seed: config.levels.testSeed, levels: QUICK_LEVELS };
  for await (const { check, verdict, found, hint, bearable, error } of checkContract(trial)) {
    await heedSignal(signal);
    if (verdict !== "fault") continue;
    if (error !== undefined) throw error;
    if (!bearable) throw new SpaError("BAD_ENVIRONMENT", `${name}: ${found}`, { hint });
    note(`warning: ${name}, ${check}: ${found}; ${hint}`);
  }
}

/** What `spa env check` reports: the contract on more levels, random episodes, lengths, speed, and what is left open. */
export async function* checkEnvironment(
  config: Config,
  tokenizer: Tokenizer,
  createEnvironment: () => Environment,
): AsyncGenerator<Finding> {
  await using environments = new EnvironmentPool(createEnvironment, { timeout: config.environment.timeout });
  const protocol = new TurnProtocol(tokenizer, config.protocol, "world-model");
  const trial = { environments, protocol, seed: config.levels.testSeed, levels: LEVELS };
  yield* checkContract(trial);
  let episodes: Episodes | undefined;
  yield await finding("random episodes", async () => {
    episodes = await playRandomly(config, protocol, environments);
    return { verdict: "ok", found: played(episodes) };
  });
  if (episodes !== undefined) {
    yield { check: "distinct levels", ...distinctLevels(episodes) };
    yield { check: "random policy", ...randomScore(episodes, config) };
    yield { check: "lengths", ...lengths(episodes, config) };
    const [{ seed }] = episodes.trajectories;
    yield await finding("speed", () => measureSpeed(environments, seed));
  }
  const problems = await environments.close();
  for (const problem of problems)
    yield { check: "end", verdict: "fault", found: shownError(problem), hint: "close() must end" };
}

interface Episodes {
  grids: string[];
  trajectories: Trajectory[];
}

type Outcome = Omit<Finding, "check">;

/** Episodes of the random policy on the test levels, each turn with the true states as far as they are known. */
async function playRandomly(
  config: Config,
  protocol: TurnProtocol,
  environments: EnvironmentPool,
): Promise<Episodes> {
  const drawing = environments.acquire();
  const drawn = await new LevelStream(drawing, config.levels.testSeed).take(EPISODES);
  environments.release(drawing);
  const trajectories = await playScripted({
    protocol,
    environments,
    plays: playsOf(drawn),
    script: randomStatesScript(config, protocol),
    generatorOf: ({ id }) => new SeededGenerator("environment check", "episode", id),
    slots: EPISODES_AT_ONCE,
  });
  return { grids: drawn.map(({ grid }) => grid), trajectories };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

function played({ trajectories }: Episodes): string {
  const turns = mean(trajectories.map((trajectory) => trajectory.turns.length));
  const ends = new Map<string, number>();
  for (const { finish } of trajectories) ends.set(finish, (ends.get(finish) ?? 0) + 1);
  const how = [...ends].map(([finish, count]) => `${count} ${finish}`).join(", ");
  return `${trajectories.length} played, ${turns.toFixed(1)} turns each; ended by: ${how}`;
}

function distinctLevels({ grids }: Episodes): Outcome {
  const distinct = new Set(grids).size;
  const found = `${distinct} of ${grids.length} seeds' levels differ`;
  if (distinct > grids.length / 2) return { verdict: "ok", found };
  return {
    verdict: "note",
    found,
    hint: "training skips test and tuning levels: few may be left; make levels larger, or set levels.disjoint=false",
  };
}

function randomScore({ trajectories }: Episodes, { evaluation }: Config): Outcome {
  const solved = trajectories.map(({ success }) => Number(success));
  const generator = new SeededGenerator("environment check", "bootstrap");
  const [[low, high]] = bootstrapIntervals([solved], evaluation.bootstrap, generator);
  const rate = mean(solved);
  const reward = mean(trajectories.map(({ totalReward }) => totalReward));
  const percent = (value: number) => value.toFixed(3);
  const found = `Pass@1 ${percent(rate)} [${percent(low)}, ${percent(high)}], mean reward ${reward.toFixed(3)}`;
  if (rate > 0 && rate < 1) return { verdict: "ok", found };
  const hint =
    rate === 0
      ? "no random episode is solved: PPO may see no reward to begin with; easier levels, or more turns, help"
      : "every random episode is solved: is info.success right?";
  return { verdict: "note", found, hint };
}

function lengths({ trajectories }: Episodes, { protocol }: Config): Outcome {
  const longest = (values: number[]) => values.reduce((most, value) => Math.max(most, value), 0);
  const prompt = longest(trajectories.map(({ turns }) => turns[0].begin));
  const reply = longest(trajectories.flatMap(({ turns }) => turns.map(({ begin, end }) => end - begin)));
  const episode = longest(trajectories.map(({ tokens }) => tokens.length));
  const { maxNewTokens, maxTokens } = protocol;
  const found = `first prompt up to ${prompt} tokens, a reply that tells both states ${reply} (of ${maxNewTokens}), episode ${episode} (of ${maxTokens})`;
  const cut = trajectories.filter(({ finish }) => finish === "context").length;
  if (prompt + maxNewTokens > maxTokens) {
    return {
      verdict: "fault",
      found,
      hint: "raise protocol.maxTokens: no reply finds room behind the first prompt",
    };
  }
  if (reply > maxNewTokens) {
    return {
      verdict: "note",
      found,
      hint: "raise protocol.maxNewTokens: no reply can tell the states in full",
    };
  }
  if (cut === 0) return { verdict: "ok", found };
  const hint = `${cut} episodes end at the context's limit before their turns are played: raise protocol.maxTokens`;
  return { verdict: "note", found, hint };
}

async function measureSpeed(environments: EnvironmentPool, seed: number): Promise<Outcome> {
  const environment = environments.acquire();
  const generator = new SeededGenerator("environment check", "speed");
  let steps = 0;
  let milliseconds = 0;
  const end = performance.now() + TIMED;
  while (steps === 0 || performance.now() < end) {
    await environment.reset({ seed });
    const actions = Array.from(
      { length: STEPS_TIMED },
      () => randomActions(environment, generator, [1], 1)[0],
    );
    const begin = performance.now();
    for (const action of actions) {
      const { terminated, truncated } = await environment.step(action);
      steps++;
      if (terminated || truncated) break;
    }
    milliseconds += performance.now() - begin;
  }
  environments.release(environment);
  const rate = (1000 * steps) / milliseconds;
  return {
    verdict: "ok",
    found: `${Number(rate.toPrecision(2)).toLocaleString("en")} steps a second, one after another`,
  };
}
