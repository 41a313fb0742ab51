import type { Model } from "../engine/model.ts";
import { SpaError } from "../errors.ts";
import { PERPLEXITY_LEVELS } from "../memory/stage-memory.ts";
import { playsOf } from "../rollout/player.ts";
import { randomStatesScript } from "../rollout/random-policy.ts";
import { playScripted } from "../rollout/scripted.ts";
import { SeededGenerator, seedOf } from "../rollout/seeded-generator.ts";
import { TurnProtocol } from "../rollout/turn-protocol.ts";
import type { Perplexity } from "../run/world-model.ts";
import { Role } from "../text/roles.ts";
import type { StateForm, StateText } from "../text/state-text.ts";
import { escapeTags } from "../text/tags.ts";
import type { StageContext } from "./context.ts";
import { longestSegment, packExamples, type RewrittenTrajectory, rewriteTrajectory } from "./sft/examples.ts";

/** How well a model foretells some texts. Logarithms are natural. */
export interface TextFit {
  /** exp of the mean negative log-prob of a token; null without any. */
  perplexity: number | null;
  /** Mean over states of their tokens' summed negative log-probs, in nats; null without any. */
  natsPerState: number | null;
  tokens: number;
  states: number;
}

/** How well a model foretells the true states of turns, in one form of writing them. */
export interface StatePerplexity {
  form: StateForm;
  observation: TextFit;
  prediction: TextFit;
  /** Predictions of turns that changed the state. */
  predictionChanged: TextFit;
  /** Observations and predictions. */
  both: TextFit;
  /** Their grids, and what stands under these: the coordinates. */
  grid: TextFit;
  coordinates: TextFit;
  /** Trajectories that the true states make longer than the context; they are left out. */
  tooLong: number;
}

interface PerplexityOptions {
  /** Tuning levels, from the first on; one trajectory each. */
  levels: number;
  form: StateForm;
}

/** What is needed of a context. */
export type PerplexityContext = Pick<
  StageContext,
  "config" | "environments" | "split" | "tokenizer" | "signal"
>;

/** Parts of {@link StatePerplexity}. */
type Part = Exclude<keyof StatePerplexity, "form" | "tooLong">;

/**
 * The perplexity of the true states under a model (arXiv 2510.15047 compares raw grids with structured states so): tuning levels are
 * played with random actions in world-model format, the true states stand in observation and prediction, and the model scores
 * their tokens behind all that comes before. Every model reads the same text.
 *
 * Perplexities per token cannot be compared where texts have other tokens (two forms, two tokenizers); nats per state can.
 *
 * @throws SpaError CAPACITY when every trajectory is too long; ABORTED
 */
export async function statePerplexity(
  context: PerplexityContext,
  model: Model,
  { levels, form }: PerplexityOptions,
): Promise<StatePerplexity> {
  const { config, tokenizer, signal } = context;
  const protocol = new TurnProtocol(tokenizer, { ...config.protocol, traceState: form }, "world-model");
  const { rewritten, tooLong } = await truthfulTurns(context, protocol, levels);
  const packed = packExamples(rewritten.map(({ example }) => example));
  const { tokens, offsets } = packed;
  const logProbs = await model.logProbs({ tokens, offsets }, { ...(signal && { signal }) });
  const fits = new Map<Part, FitSum>();
  let begin = 0;
  for (const { example, turns } of rewritten) {
    const own = logProbs.subarray(begin, begin + example.tokens.length);
    const trained = turns.filter((turn) => turn.trained);
    for (const [index, reply] of trainedReplies(example.trainable).entries())
      addReply(fits, { ...example, logProbs: own }, reply, trained[index].turn, protocol);
    begin += example.tokens.length;
  }
  const fitOf = (part: Part) => (fits.get(part) ?? new FitSum()).fit();
  return {
    form,
    observation: fitOf("observation"),
    prediction: fitOf("prediction"),
    predictionChanged: fitOf("predictionChanged"),
    both: fitOf("both"),
    grid: fitOf("grid"),
    coordinates: fitOf("coordinates"),
    tooLong,
  };
}

/** What results.json has of {@link statePerplexity}; undefined where true states do not fit the context. */
export async function evaluatedPerplexity(
  context: PerplexityContext,
  model: Model,
): Promise<Perplexity | undefined> {
  const { traceState: form } = context.config.protocol;
  try {
    const fits = await statePerplexity(context, model, { levels: PERPLEXITY_LEVELS, form });
    const kept = ({ perplexity, natsPerState }: TextFit) => ({ perplexity, natsPerState });
    const { observation, prediction, predictionChanged } = fits;
    return {
      observation: kept(observation),
      prediction: kept(prediction),
      predictionChanged: kept(predictionChanged),
    };
  } catch (error) {
    if (error instanceof SpaError && error.code === "CAPACITY") return undefined;
    throw error;
  }
}

/** Levels played at random, with the true states in every turn. */
async function truthfulTurns(
  { config, environments, split, signal }: PerplexityContext,
  protocol: TurnProtocol,
  levels: number,
): Promise<{ rewritten: RewrittenTrajectory[]; tooLong: number }> {
  const seed = seedOf(config.seed, "perplexity");
  const trajectories = await playScripted({
    protocol,
    environments,
    plays: playsOf(split.tuning.slice(0, levels)),
    script: randomStatesScript(config, protocol),
    generatorOf: ({ id }) => new SeededGenerator(seed, id),
    signal,
  });
  const all = trajectories.flatMap(
    (trajectory) => rewriteTrajectory(trajectory, "validation", protocol, { states: "true" }) ?? [],
  );
  const { maxTokens } = protocol.settings;
  const rewritten = all.filter(({ example }) => longestSegment(example) <= maxTokens);
  if (rewritten.length === 0) {
    throw new SpaError(
      "CAPACITY",
      `with the true states in them all ${all.length} trajectories are longer than the context (protocol.maxTokens is ${maxTokens})`,
      { hint: "raise protocol.maxTokens" },
    );
  }
  return { rewritten, tooLong: all.length - rewritten.length };
}

interface Range {
  begin: number;
  end: number;
}

/** Where the replies of an example stand, in order. */
function trainedReplies(trainable: Uint8Array): Range[] {
  const replies: Range[] = [];
  for (let begin = trainable.indexOf(1); begin >= 0; ) {
    const gap = trainable.indexOf(0, begin);
    const end = gap < 0 ? trainable.length : gap;
    replies.push({ begin, end });
    begin = trainable.indexOf(1, end);
  }
  return replies;
}

/** The tokens of an example, as a model scores them. */
interface ScoredTokens {
  tokens: Int32Array;
  roles: Uint8Array;
  logProbs: Float32Array;
}

function addReply(
  fits: Map<Part, FitSum>,
  scored: ScoredTokens,
  reply: Range,
  { stateBefore, stateAfter, effective }: RewrittenTrajectory["turns"][number]["turn"],
  protocol: TurnProtocol,
): void {
  const views: [role: Role, state: StateText, parts: Part[]][] = [
    [Role.observation, stateBefore, ["observation", "both"]],
    [
      Role.prediction,
      stateAfter,
      ["prediction", "both", ...(effective ? ["predictionChanged" as const] : [])],
    ],
  ];
  for (const [role, state, parts] of views) {
    const places: number[] = [];
    for (let place = reply.begin; place < reply.end; place++)
      if (scored.roles[place] === role) places.push(place);
    const inGrid = gridTokens(scored, places, state, protocol);
    const nats = places.map((place) => -scored.logProbs[place]);
    for (const part of parts) sumOf(fits, part).add(nats);
    if (inGrid === undefined) continue;
    sumOf(fits, "grid").add(nats.slice(0, inGrid));
    sumOf(fits, "coordinates").add(nats.slice(inGrid));
  }
}

/** How many of a state's tokens begin in its grid; undefined where the text is no grid with more under it. */
function gridTokens(
  { tokens }: ScoredTokens,
  places: readonly number[],
  { grid, structured }: StateText,
  { tokenizer, settings }: TurnProtocol,
): number | undefined {
  if (settings.traceState === "grid") return places.length;
  if (settings.traceState === "coordinates") return 0;
  if (!structured.startsWith(grid)) return undefined;
  const end = Buffer.byteLength(escapeTags(grid));
  let count = 0;
  for (let at = 0; count < places.length && at < end; count++)
    at += tokenizer.bytesOf(tokens[places[count]]).length;
  return count;
}

function sumOf(fits: Map<Part, FitSum>, part: Part): FitSum {
  const known = fits.get(part);
  if (known) return known;
  const sum = new FitSum();
  fits.set(part, sum);
  return sum;
}

/** Negative log-probs of states' tokens. */
class FitSum {
  #nats = 0;
  #tokens = 0;
  #states = 0;

  /** Adds the tokens of a state, if there are any. */
  add(nats: readonly number[]): void {
    if (nats.length === 0) return;
    for (const value of nats) this.#nats += value;
    this.#tokens += nats.length;
    this.#states++;
  }

  fit(): TextFit {
    const [tokens, states] = [this.#tokens, this.#states];
    return {
      perplexity: tokens === 0 ? null : Math.exp(this.#nats / tokens),
      natsPerState: states === 0 ? null : this.#nats / states,
      tokens,
      states,
    };
  }
}
