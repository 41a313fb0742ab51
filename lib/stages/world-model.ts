import type { Trajectory, Turn } from "../rollout/trajectory.ts";
import type { TurnProtocol } from "../rollout/turn-protocol.ts";
import type { Share, StateQuality, WorldModelQuality } from "../run/world-model.ts";
import type { StateText } from "../text/state-text.ts";
import { canonicalState, sameState } from "../text/turn-text.ts";

/** A state that a turn is asked to write, and what it wrote. */
type View = (turn: Turn) => { written: string; truth: StateText };

const observation: View = (turn) => ({ written: turn.observation ?? "", truth: turn.stateBefore });
const prediction: View = (turn) => ({ written: turn.prediction ?? "", truth: turn.stateAfter });

/** Whether a turn's observation is the true state before it. */
export function observesRightly(turn: Turn, protocol: TurnProtocol): boolean {
  return isRight(observation(turn), protocol);
}

/** Whether a turn's prediction is the true state after it; a turn without a prediction is wrong. */
export function predictsRightly(turn: Turn, protocol: TurnProtocol): boolean {
  return isRight(prediction(turn), protocol);
}

function isRight({ written, truth }: ReturnType<View>, protocol: TurnProtocol): boolean {
  return sameState(written, protocol.traceState(truth));
}

/** What trajectories show of a policy's world model; undefined in a format that writes no states. */
export function worldModelQuality(
  trajectories: readonly Trajectory[],
  protocol: TurnProtocol,
): WorldModelQuality | undefined {
  if (protocol.format !== "world-model") return undefined;
  const turns = trajectories.flatMap((trajectory) => trajectory.turns);
  const foretells = (turn: Turn) => predictsRightly(turn, protocol);
  const played = trajectories.filter((trajectory) => trajectory.turns.length > 0);
  const successIf = (right: boolean) =>
    shareOf(
      played.filter((trajectory) => foretells(trajectory.turns[0]) === right),
      ({ success }) => success,
    );
  return {
    observation: stateQuality(turns, observation, protocol),
    prediction: stateQuality(turns, prediction, protocol),
    followed: shareOf(
      turns.filter((turn) => observesRightly(turn, protocol)),
      foretells,
    ),
    success: { firstRight: successIf(true), firstWrong: successIf(false) },
  };
}

function stateQuality(turns: readonly Turn[], view: View, protocol: TurnProtocol): StateQuality {
  const right = new Set(turns.filter((turn) => isRight(view(turn), protocol)));
  const among = (condition: (turn: Turn) => boolean) =>
    shareOf(turns.filter(condition), (turn) => right.has(turn));
  const counts = [...new Set(turns.map(({ actions }) => actions.length))].sort((a, b) => a - b);
  return {
    all: among(() => true),
    changed: among(({ effective }) => effective),
    unchanged: among(({ effective }) => !effective),
    byActions: Object.fromEntries(
      counts.map((count) => [count, among(({ actions }) => actions.length === count)]),
    ),
    parts: partQuality(turns.map(view), protocol),
    cells: cellQuality(protocol.settings.traceState === "coordinates" ? [] : turns.map(view)),
  };
}

/** Of the parts that true states name: the share of states with right places, among those where either text names the part. */
function partQuality(states: readonly ReturnType<View>[], protocol: TurnProtocol): StateQuality["parts"] {
  const places = states.map(({ written, truth }) => ({
    written: placesOf(written),
    truth: placesOf(protocol.traceState(truth)),
  }));
  const names = new Set(places.flatMap(({ truth }) => [...truth.keys()]));
  const quality = [...names].map((name): [string, Share] => [
    name,
    shareOf(
      places.filter(({ written, truth }) => written.has(name) || truth.has(name)),
      ({ written, truth }) => written.get(name) === truth.get(name),
    ),
  ]);
  return Object.fromEntries(quality);
}

/**
 * The coordinates in a state's text by what they are of, in the singular: `boxes (X) at (1,2) and (3,4)` gives `box`, `Empty
 * cells: none` gives `empty cell` with nothing. The order of places makes no difference.
 */
function placesOf(text: string): Map<string, string> {
  const places = new Map<string, string>();
  for (const clause of text.split(/[;\n]/)) {
    const [name, list] = clause.split(/ at |: /, 2);
    if (list === undefined) continue;
    const singular = name
      .replace(/\(\S\)/u, "")
      .trim()
      .toLowerCase()
      .replace(/(?<=x)es$|(?<!s)s$/, "");
    places.set(singular, (list.match(/\(\d+,\d+\)/g) ?? []).sort().join(" "));
  }
  return places;
}

/** Of all true grids' cells (what is not blank) the share that stand in the written text at the same row and place. */
function cellQuality(states: readonly ReturnType<View>[]): Share {
  const cells = states.flatMap(({ written, truth }) => {
    const rows = cellsOf(written);
    return cellsOf(truth.grid).flatMap((row, index) =>
      row.map((cell, place) => rows[index]?.[place] === cell),
    );
  });
  return shareOf(cells, (same) => same);
}

function cellsOf(text: string): string[][] {
  return canonicalState(text)
    .split("\n")
    .map((row) => [...row].filter((cell) => /\S/.test(cell)));
}

function shareOf<T>(items: readonly T[], isRight: (item: T) => boolean): Share {
  const { length: count } = items;
  return { share: count === 0 ? null : items.filter(isRight).length / count, count };
}
