import { hasSft } from "../../config/arms.ts";
import type { Config } from "../../config/schema.ts";
import type { Model } from "../../engine/model.ts";
import { SpaError } from "../../errors.ts";
import { collect } from "../../rollout/collector.ts";
import { type Play, playsOf } from "../../rollout/player.ts";
import { randomPolicyActions } from "../../rollout/random-policy.ts";
import { playScripted, type Script } from "../../rollout/scripted.ts";
import { SeededGenerator, seedOf } from "../../rollout/seeded-generator.ts";
import { sampledTokens, type Trajectory } from "../../rollout/trajectory.ts";
import type { TurnProtocol } from "../../rollout/turn-protocol.ts";
import { type RunFolder, stageFileName } from "../../run/run-folder.ts";
import { exploreStates, learnNoise } from "../base/traces.ts";
import { loadModel, protocolOf, type StageContext } from "../context.ts";
import { noteHeldStarts, withoutHeldStates } from "../held-states.ts";
import { playMetrics, playStatistics } from "../play-statistics.ts";
import {
  longestSegment,
  type RewrittenTrajectory,
  rewriteTrajectory,
  type SftExample,
  type StateTargets,
  type TurnChoice,
} from "../sft/examples.ts";
import { type SftRow, writeExamples, writeSftRows } from "../sft/files.ts";
import { StageRun } from "../stage-run.ts";
import { tokensPerSecond } from "../training.ts";
import { trainingLevels } from "../training-levels.ts";

/** Trajectories of self-play that are logged. */
const LOGGED_TRAJECTORIES = 32;

/** Levels from which random coordinates learn their range. */
const NOISE_LEVELS = 100;

/** A round of self-play: its stage, and the model that plays. */
interface SelfPlayTask {
  id: string;
  /** From 1 on; each round has levels and streams of its own. */
  round: number;
  /** Folder of the model's checkpoint. */
  source: string;
}

/** The token-level training data of a self-play stage, within the run folder. */
export function examplesFile(run: RunFolder, id: string): string {
  return run.file("data", `${stageFileName(id)}-tokens.parquet`);
}

/** The same data as text, in the columns of SPA's own files. */
export function rowsFile(run: RunFolder, id: string): string {
  return run.file("data", `${stageFileName(id)}.parquet`);
}

/**
 * Lets the model play in world-model format and makes training data of it: the environment's true states stand in
 * observation and prediction, turns with a format error are dropped, success does not matter (arXiv 2510.15047,
 * section 3).
 *
 * Trajectories that the true states make longer than the context (`protocol.maxTokens`) are left out.
 *
 * @throws SpaError ABORTED; the stage starts anew on resume, and comes to the same data. CAPACITY when all are too long
 */
export async function selfPlay(context: StageContext, task: SelfPlayTask): Promise<void> {
  const { config } = context;
  const plays = await selfPlayPlays(context, task);
  const run = await StageRun.begin(context, task.id, plays.length);
  const protocol = protocolOf(context, "world-model");
  const begin = performance.now();
  const trajectories = await play(context, task, protocol, plays);
  const sampled = sampledTokens(trajectories);
  const statistics = playStatistics(trajectories, protocol);
  run.cost.tokensSampled = sampled;

  const { rewritten: all, tooLong } = await rewriteAll(context, protocol, trajectories, task);
  const rewritten = withoutHeldStates(context, task.id, all, trainedStates, (item) => item);
  const examples = rewritten.map(({ example }) => example);
  const heldStarts = noteHeldStarts(context, task.id, rewritten.flatMap(trainedStates));
  const files = [rowsFile(context.run, task.id), examplesFile(context.run, task.id)];
  writeSftRows(
    files[0],
    rewritten.flatMap((item, index) => rowsOf(item, config.environment.name, protocol, index)),
  );
  writeExamples(files[1], examples);
  run.log(0, {
    ...playMetrics(statistics),
    examples: examples.length,
    examples_too_long: tooLong,
    example_tokens: examples.reduce((sum, { tokens }) => sum + tokens.length, 0),
    tokens_per_second: tokensPerSecond(sampled, begin),
  });
  run.logTrajectories(0, trajectories, LOGGED_TRAJECTORIES);
  const { formatRate } = statistics;
  await run.complete({ examples: examples.length, formatRate, heldStarts }, files);
}

/** The grids of a trajectory's states that are trained on. */
function trainedStates({ turns: all }: RewrittenTrajectory): string[] {
  const turns = all.filter(({ trained }) => trained);
  return turns.flatMap(({ turn: { stateBefore, stateAfter } }) => [stateBefore.grid, stateAfter.grid]);
}

/** Levels of a round; each is played by a group. */
export function levelsPerRound({
  selfPlay: { trajectories, rounds, groupSize },
}: Pick<Config, "selfPlay">): number {
  return Math.max(1, Math.round(trajectories / rounds / groupSize));
}

async function selfPlayPlays(context: StageContext, { round }: SelfPlayTask): Promise<Play[]> {
  const { config, signal } = context;
  const stream = trainingLevels(context, { kind: "self-play", round });
  return playsOf(await stream.take(levelsPerRound(config), signal), config.selfPlay.groupSize);
}

/** The id of a round's stage. */
export function selfPlayStage(round: number): string {
  return `spa/self-play${round === 1 ? "" : `-${round}`}`;
}

/** The side of the split that all trajectories of a level are on. */
function sideOf({ seed, sft }: Pick<Config, "seed" | "sft">, id: string, group: number): SftExample["split"] {
  return new SeededGenerator(seed, id, "split", group).chance(sft.validationShare) ? "validation" : "train";
}

/** Which turns of a trajectory are trained on: the well-formed ones, and of those that changed nothing a share. */
function choiceOfTurns(
  { seed, selfPlay }: Pick<Config, "seed" | "selfPlay">,
  id: string,
  trajectory: number,
): TurnChoice {
  const { unchangedTurns: share } = selfPlay;
  return ({ valid, effective }, index) =>
    valid &&
    (effective || share === 1 || new SeededGenerator(seed, id, "unchanged", trajectory, index).chance(share));
}

/** Refuses a configuration whose self-play would be held back for validation as a whole. @throws SpaError BAD_CONFIG */
export function checkSplit(config: Config): void {
  if (!hasSft(config.arms) || config.sft.data !== null) return;
  const levels = levelsPerRound(config);
  for (let round = 1; round <= config.selfPlay.rounds; round++) {
    const id = selfPlayStage(round);
    const trains = Array.from({ length: levels }, (_, group) => sideOf(config, id, group)).includes("train");
    if (trains) continue;
    throw new SpaError(
      "BAD_CONFIG",
      `${id} would leave nothing to train on: with sft.validationShare=${config.sft.validationShare} all of its ${levels} levels are held back for validation`,
      { hint: "lower sft.validationShare, or raise selfPlay.trajectories" },
    );
  }
}

async function play(
  context: StageContext,
  task: SelfPlayTask,
  protocol: TurnProtocol,
  plays: readonly Play[],
): Promise<Trajectory[]> {
  const { config, environments, signal, progress } = context;
  const seed = seedOf(config.seed, task.id, "sampling");
  const options = {
    protocol,
    environments,
    plays,
    signal,
    onProgress: (done: number) => progress.tick(done),
  };
  if (config.selfPlay.policy === "random") {
    // The ablation: well-formed turns with random actions in place of the model's.
    const script: Script = async (episode, generator) => ({
      observation: protocol.traceState(episode.state),
      reasoning: "",
      prediction: "",
      actions: await randomPolicyActions(config, episode, generator),
    });
    return playScripted({ ...options, script, generatorOf: ({ id }) => new SeededGenerator(seed, id) });
  }
  await using model: Model = await loadModel(context, task.source);
  const { temperature } = config.selfPlay;
  return await collect({ ...options, model, temperature, slots: config.engine.rolloutSlots, seed });
}

async function rewriteAll(
  context: StageContext,
  protocol: TurnProtocol,
  trajectories: readonly Trajectory[],
  task: SelfPlayTask,
): Promise<{ rewritten: RewrittenTrajectory[]; tooLong: number }> {
  const { config, progress } = context;
  const targets = await stateTargets(context, task, protocol);
  const all = trajectories
    .map((trajectory) =>
      rewriteTrajectory(
        trajectory,
        sideOf(config, task.id, trajectory.group),
        protocol,
        targets,
        choiceOfTurns(config, task.id, trajectory.id),
      ),
    )
    .filter((item) => item !== undefined);
  const { maxTokens } = config.protocol;
  const rewritten = all.filter(({ example }) => longestSegment(example) <= maxTokens);
  const tooLong = all.length - rewritten.length;
  if (tooLong === 0) return { rewritten, tooLong };
  const longest = Math.max(...all.map(({ example }) => longestSegment(example)));
  const what = `${tooLong} of ${all.length} trajectories are longer than the context with the true states in them (up to ${longest} tokens, protocol.maxTokens is ${maxTokens})`;
  if (rewritten.length === 0) {
    throw new SpaError("CAPACITY", `${task.id} leaves nothing to train on: ${what}`, {
      hint: "raise protocol.maxTokens, or write states shorter (protocol.traceState)",
    });
  }
  progress.note(`${task.id}: ${what}; they are left out`);
  return { rewritten, tooLong };
}

async function stateTargets(
  context: StageContext,
  task: SelfPlayTask,
  protocol: TurnProtocol,
): Promise<StateTargets> {
  const { seed, sft } = context.config;
  const { states } = sft;
  if (states !== "random-coordinates" && states !== "random") return { states };
  const levels = await trainingLevels(context, { kind: "self-play" }).take(NOISE_LEVELS);
  if (states === "random-coordinates") {
    const noise = await learnNoise(context, levels);
    return { states, noise, generator: new SeededGenerator(seed, task.id, "targets") };
  }
  const pool = (await exploreStates(context, levels)).map((state) => protocol.traceState(state));
  const generatorOf = (trajectory: number, turn: number) =>
    new SeededGenerator(seed, task.id, "targets", trajectory, turn);
  return { states, pool, generatorOf };
}

/** The trained turns of a trajectory as rows, each with the whole conversation before it. */
function rowsOf(
  { example, seed, turns }: RewrittenTrajectory,
  environment: string,
  protocol: TurnProtocol,
  trajectory: number,
): SftRow[] {
  const system = protocol.system === null ? [] : [{ role: "system", content: protocol.system }];
  const messages: SftRow["prompt"] = [...system];
  const rows: SftRow[] = [];
  for (const [index, { turn, response, trained }] of turns.entries()) {
    if (protocol.settings.context === "turn") messages.splice(system.length);
    messages.push({ role: "user", content: turn.message });
    if (trained) {
      rows.push({
        data_source: environment,
        prompt: [...messages],
        response,
        ability: "world-model",
        reward_model: { style: "rule", ground_truth: turn.stateAfter.structured },
        extra_info: { split: example.split, trajectory, turn: index, seed },
      });
    }
    messages.push({ role: "assistant", content: response });
  }
  return rows;
}
