import { packTrajectories, type TrajectoryBatch } from "../../rollout/batch.ts";
import type { SeededGenerator } from "../../rollout/seeded-generator.ts";
import { type Trajectory, TrajectoryTokens, type Turn } from "../../rollout/trajectory.ts";
import type { TurnProtocol } from "../../rollout/turn-protocol.ts";
import { isAssistantRole, Role } from "../../text/roles.ts";
import { type Span, spansOf } from "../../text/spans.ts";
import { replaceStates } from "../../text/turn-text.ts";
import { joined } from "../../typed-arrays.ts";
import type { StateNoise } from "./state-noise.ts";

/** A sequence that supervised fine-tuning trains on. Arrays are [tokens]. */
export interface SftExample {
  /** Examples of one trajectory are on the same side of the split. */
  trajectory: number;
  split: "train" | "validation";
  tokens: Int32Array;
  roles: Uint8Array;
  /** 1 where a loss mask may select the token: 0 in invalid turns, which are context only. */
  trainable: Uint8Array;
  /** 1 in the agent's turns that changed the state. */
  changed: Uint8Array;
  segments: number[];
}

/** Tokens of the longest sequence that a model sees of an example. */
export function longestSegment({ tokens, segments }: Pick<SftExample, "tokens" | "segments">): number {
  return Math.max(...segments.map((begin, index) => (segments[index + 1] ?? tokens.length) - begin));
}

/** One turn of a rewritten trajectory as text. */
interface RewrittenTurn {
  turn: Turn;
  response: string;
  /** The turn's reply is well-formed and trained on. */
  trained: boolean;
}

export interface RewrittenTrajectory {
  example: SftExample;
  /** Seed of the level. */
  seed: number;
  turns: RewrittenTurn[];
}

/** Whether a turn, given its place in the trajectory, is trained on; never true of an invalid one. */
export type TurnChoice = (turn: Turn, index: number) => boolean;

/** What stands in observation and prediction; all but `true` are ablations (docs/protocol.md). */
export type StateTargets =
  | { states: "true" | "sampled" | "true-observation" | "true-prediction" }
  | { states: "random-coordinates"; noise: StateNoise; generator: SeededGenerator }
  | RandomStates;

/** States that say nothing about the turn: of the environment, but others. */
interface RandomStates {
  states: "random";
  pool: readonly string[];
  /** A trajectory's turn has numbers of its own, whatever else is rewritten. */
  generatorOf(trajectory: number, turn: number): SeededGenerator;
}

/**
 * A self-play trajectory as a training example: in every valid turn the true states stand in observation and
 * prediction. What the environment said keeps its tokens; new text is encoded span by span. Turns that are not chosen keep
 * their tokens as context without loss, and are cut off at the end; valid ones that are no context of others, since each turn
 * has a prompt of its own, are left out.
 *
 * @param trains chooses among the valid turns
 * @returns undefined if no turn is chosen
 */
export function rewriteTrajectory(
  trajectory: Trajectory,
  split: SftExample["split"],
  protocol: TurnProtocol,
  targets: StateTargets,
  trains: TurnChoice = ({ valid }) => valid,
): RewrittenTrajectory | undefined {
  const last = trajectory.turns.findLastIndex(trains);
  if (last < 0) return undefined;
  const tokens = new TrajectoryTokens();
  const written: { begin: number; end: number; effective: boolean }[] = [];
  const turns: RewrittenTurn[] = [];
  let copied = 0;
  const copy = (end: number): void => {
    for (const segment of trajectory.segments) {
      if (segment >= copied && segment < end) tokens.segments.push(tokens.length + segment - copied);
    }
    tokens.append({
      tokens: trajectory.tokens.subarray(copied, end),
      roles: trajectory.roles.subarray(copied, end),
    });
    copied = end;
  };
  for (const [index, turn] of trajectory.turns.slice(0, last + 1).entries()) {
    const spans = replySpans(trajectory, turn, protocol);
    const trained = trains(turn, index);
    if (turn.valid && !trained && protocol.settings.context === "turn") {
      turns.push({ turn, response: protocol.forced + textOf(spans), trained: false });
      copied = turn.end;
      continue;
    }
    copy(turn.begin);
    if (trained) {
      const target = replaceStates(spans, ...targetStates(trajectory, index, protocol, targets));
      turns.push({ turn, response: protocol.forced + textOf(target), trained: true });
      const begin = tokens.length;
      tokens.append(protocol.encodeReply(target));
      written.push({ begin, end: tokens.length, effective: turn.effective });
      copied = turn.end;
    } else {
      turns.push({ turn, response: protocol.forced + textOf(spans), trained: false });
      copy(turn.end);
    }
  }
  const { tokens: ids, roles, segments } = tokens.finish();
  const [trainable, changed] = [new Uint8Array(ids.length), new Uint8Array(ids.length)];
  for (const { begin, end, effective } of written) {
    trainable.fill(1, begin, end);
    if (effective) changed.fill(1, begin, end);
  }
  const example = { trajectory: trajectory.id, split, tokens: ids, roles, trainable, changed, segments };
  return { example, seed: trajectory.seed, turns };
}

/** Which turns changed the state, as far as their texts tell: those whose prediction is not their observation. [tokens] */
export function changedByText({ tokens, roles }: Pick<SftExample, "tokens" | "roles">): Uint8Array {
  const changed = new Uint8Array(tokens.length);
  for (let begin = 0; begin < roles.length; begin++) {
    if (!isAssistantRole(roles[begin])) continue;
    let end = begin;
    while (end < roles.length && isAssistantRole(roles[end])) end++;
    const state = (role: Role) =>
      tokens
        .subarray(begin, end)
        .filter((_, index) => roles[begin + index] === role)
        .join();
    const [before, after] = [state(Role.observation), state(Role.prediction)];
    if (before !== "" && after !== "" && before !== after) changed.fill(1, begin, end);
    begin = end;
  }
  return changed;
}

/** The spans of a sampled turn, without its forced beginning and its end token. */
function replySpans(trajectory: Trajectory, turn: Turn, protocol: TurnProtocol): Span[] {
  const { tokenizer, chat, format, forced } = protocol;
  const content = trajectory.tokens
    .subarray(turn.begin, turn.end)
    .filter((id) => !chat.stopTokens.includes(id));
  const spans = spansOf(forced + tokenizer.decode(content), format);
  return forced === "" ? spans : spans.slice(1);
}

/** The texts for a turn's observation and prediction; null where the agent's own stays. */
function targetStates(
  { id, turns }: Trajectory,
  index: number,
  protocol: TurnProtocol,
  targets: StateTargets,
): [before: string | null, after: string | null] {
  const { stateBefore, stateAfter } = turns[index];
  const [before, after] = [protocol.traceState(stateBefore), protocol.traceState(stateAfter)];
  switch (targets.states) {
    case "true":
      return [before, after];
    case "true-observation":
      return [before, null];
    case "true-prediction":
      return [null, after];
    case "sampled":
      return [null, null];
    case "random-coordinates": {
      const { noise, generator } = targets;
      return [noise.randomCoordinates(before, generator, 1), noise.randomCoordinates(after, generator, 1)];
    }
    case "random": {
      const { pool, generatorOf } = targets;
      const generator = generatorOf(id, index);
      return [otherState(pool, before, generator), otherState(pool, after, generator)];
    }
  }
}

/** A state of the pool that is not `state`, if there is one. */
function otherState(pool: readonly string[], state: string, generator: SeededGenerator): string {
  const others = pool.filter((text) => text !== state);
  return others.length === 0 ? state : generator.choice(others);
}

function textOf(spans: readonly Span[]): string {
  return spans.map((span) => span.text).join("");
}

/** Examples laid end to end: rows of the forward pass, and what their loss goes by. */
export function packExamples(
  examples: readonly SftExample[],
): Pick<TrajectoryBatch, "tokens" | "offsets" | "roles"> & Pick<SftExample, "trainable" | "changed"> {
  const { tokens, offsets, roles, sampled } = packTrajectories(
    examples.map(({ trainable, ...example }) => ({ ...example, sampled: trainable })),
  );
  const changed = joined(
    Uint8Array,
    examples.map((example) => example.changed),
  );
  return { tokens, offsets, roles, trainable: sampled, changed };
}
