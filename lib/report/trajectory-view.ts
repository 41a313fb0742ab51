import type { LoggedTrajectory, LoggedTurn } from "../run/trajectory-log.ts";
import { type RoleName, roleNames } from "../text/roles.ts";
import { type StateForm, writeState } from "../text/state-text.ts";
import { compareStates, type StateDifference } from "./state-difference.ts";

/** Text of one role, as a viewer paints it. */
export interface ViewPiece {
  role: RoleName;
  text: string;
  /** The model sampled it. */
  sampled: boolean;
  tokens: number;
  /** Mean log-probability of the sampled tokens; undefined where none was sampled. */
  meanLogProb: number | undefined;
}

/** A state that the agent wrote, beside the true one. */
export interface StateComparison {
  truth: string;
  /** Undefined where the agent wrote none. */
  difference: StateDifference | undefined;
}

/** What a turn came to, beside what the agent wrote of it. */
export interface TurnStates {
  turn: LoggedTurn;
  /** State before the turn, and what the agent observed. */
  before: StateComparison;
  /** State after the turn, and what the agent predicted. */
  after: StateComparison;
}

/** A turn of a trajectory as viewers show it. */
export interface ViewTurn extends TurnStates {
  /** From 1 on. */
  number: number;
  /** What came in before the reply: prompt, or the environment's answer to the turn before. */
  message: ViewPiece[];
  reply: ViewPiece[];
}

/** A logged trajectory cut into turns; `rest` are the tokens after the last. */
export interface TrajectoryView {
  trajectory: LoggedTrajectory;
  turns: ViewTurn[];
  rest: ViewPiece[];
  /** In words: level, distance, outcome. */
  facts: string[];
}

/** What ended an episode, in words. */
const finishWords: Readonly<Record<string, string>> = {
  terminated: "ended by the environment",
  truncated: "cut by the environment's step limit",
  turns: "out of turns",
  actions: "out of actions",
  context: "out of context",
};

/**
 * Cuts a logged trajectory into turns and compares the agent's states with the true ones.
 *
 * @param traceState the rendering in which observations and predictions are judged (`protocol.traceState`)
 */
export function viewTrajectory(trajectory: LoggedTrajectory, traceState: StateForm): TrajectoryView {
  const pieces = placePieces(trajectory);
  const within = (begin: number, end: number) =>
    pieces.filter(({ at }) => at >= begin && at < end).map(({ piece }) => piece);
  let position = 0;
  const turns = trajectory.turns.map((turn, index): ViewTurn => {
    const message = within(position, turn.begin);
    position = turn.end;
    return {
      number: index + 1,
      message,
      reply: within(turn.begin, turn.end),
      ...viewStates(turn, traceState),
    };
  });
  return { trajectory, turns, rest: within(position, Number.POSITIVE_INFINITY), facts: describe(trajectory) };
}

/** Compares the states that the agent wrote in a turn with the true ones. */
export function viewStates(turn: LoggedTurn, traceState: StateForm): TurnStates {
  return {
    turn,
    before: compare(writeState(turn.stateBefore, traceState), turn.observation),
    after: compare(writeState(turn.stateAfter, traceState), turn.prediction),
  };
}

function compare(truth: string, written: string | undefined): StateComparison {
  return { truth, difference: written === undefined ? undefined : compareStates(written, truth) };
}

/** The pieces with the token at which each begins. */
function placePieces({ pieces, logProbs }: LoggedTrajectory): { at: number; piece: ViewPiece }[] {
  let at = 0;
  let sampledBefore = 0;
  return pieces.map(([role, sampled, tokens, text]) => {
    const own = sampled ? logProbs.slice(sampledBefore, sampledBefore + tokens) : [];
    const sum = own.reduce((total, value) => total + value, 0);
    const meanLogProb = own.length === 0 ? undefined : sum / own.length;
    const piece = { role: roleNames[role] ?? "other", text, sampled: sampled === 1, tokens, meanLogProb };
    const placed = { at, piece };
    at += tokens;
    sampledBefore += own.length;
    return placed;
  });
}

function describe({
  seed,
  distance,
  success,
  totalReward,
  finish,
  turns,
  tokens,
}: LoggedTrajectory): string[] {
  return [
    `level seed ${seed}`,
    ...(distance === null ? [] : [`shortest solution ${distance}`]),
    success ? "solved" : "not solved",
    `reward ${formatNumber(totalReward)}`,
    turns.length === 1 ? "1 turn" : `${turns.length} turns`,
    `${tokens.length} tokens`,
    finishWords[finish] ?? finish,
  ];
}

/** Up to four significant digits, without trailing zeros: `0.5`, `-0.1`, `1234`. */
export function formatNumber(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

/** `Left || Up (1 of 2 carried out)`; the reason where the reply was malformed. */
export function describeActions({ actions, executed, valid, invalidReason }: LoggedTurn): string {
  const listed = actions.length === 0 ? "no action" : actions.join(" || ");
  const cut = executed < actions.length ? ` (${executed} of ${actions.length} carried out)` : "";
  return `${listed}${cut}${valid ? "" : `; invalid: ${invalidReason ?? "malformed"}`}`;
}
