import type { Solution } from "../solution.ts";
import {
  COLUMN_STEPS,
  hasTarget,
  isBox,
  ROW_STEPS,
  SOKOBAN_ACTIONS,
  type SokobanBoard,
  WALL,
} from "./board.ts";

/** States that a search may look at before it gives up, unless told otherwise. */
export const DEFAULT_SEARCH_STATES = 500_000;

/** A room's open cells, numbered from 0. */
interface Room {
  /** The neighbour of a cell by direction at `4 * cell + direction`; -1 is a wall. */
  neighbours: Int16Array;
  /** Whether a box on this cell could be pushed to some target if it were alone. */
  alive: Uint8Array;
  isTarget: Uint8Array;
  openCells: number;
}

function roomOf(board: SokobanBoard): { room: Room; numberOf: Int16Array } {
  const { cells, stride } = board;
  const numberOf = new Int16Array(cells.length).fill(-1);
  const open: number[] = [];
  for (const [index, cell] of cells.entries()) {
    if (cell !== WALL) {
      numberOf[index] = open.length;
      open.push(index);
    }
  }
  const neighbours = new Int16Array(4 * open.length);
  for (const [number, index] of open.entries()) {
    for (let direction = 0; direction < 4; direction++) {
      const next = index + ROW_STEPS[direction] * stride + COLUMN_STEPS[direction];
      neighbours[4 * number + direction] = numberOf[next];
    }
  }
  const isTarget = Uint8Array.from(open, (index) => (hasTarget(cells[index]) ? 1 : 0));
  const alive = aliveCells(neighbours, isTarget);
  return { room: { neighbours, alive, isTarget, openCells: open.length }, numberOf };
}

/** Pulls a lone box backwards from every target; a box pushed anywhere else can never be brought home. */
function aliveCells(neighbours: Int16Array, isTarget: Uint8Array): Uint8Array {
  const alive = Uint8Array.from(isTarget);
  const queue = [...isTarget.keys()].filter((cell) => isTarget[cell] === 1);
  for (const cell of queue) {
    for (let direction = 0; direction < 4; direction++) {
      // The player pulls in `direction`: the box follows to `from`, the player ends one cell further.
      const from = neighbours[4 * cell + direction];
      const player = from < 0 ? -1 : neighbours[4 * from + direction];
      if (player >= 0 && alive[from] === 0) {
        alive[from] = 1;
        queue.push(from);
      }
    }
  }
  return alive;
}

/** The states of a breadth-first search, in the order they were found. `boxes` holds `boxCount` sorted cells a state. */
class Frontier {
  readonly players: number[] = [];
  readonly boxes: number[] = [];
  readonly parents: number[] = [];
  readonly directions: number[] = [];
  private readonly seen = new Set<number | string>();
  private readonly openCells: number;
  private readonly boxCount: number;
  private readonly fitsNumber: boolean;

  constructor(openCells: number, boxCount: number) {
    this.openCells = openCells;
    this.boxCount = boxCount;
    this.fitsNumber = openCells ** (boxCount + 1) < Number.MAX_SAFE_INTEGER;
  }

  private key(player: number, boxes: readonly number[]): number | string {
    if (!this.fitsNumber) {
      return String.fromCharCode(player, ...boxes);
    }
    let key = player;
    for (const box of boxes) {
      key = key * this.openCells + box;
    }
    return key;
  }

  /** Adds a state unless it was found before; `boxes` is sorted. */
  add(player: number, boxes: readonly number[], parent: number, direction: number): void {
    const known = this.seen.size;
    this.seen.add(this.key(player, boxes));
    if (this.seen.size > known) {
      this.players.push(player);
      this.boxes.push(...boxes);
      this.parents.push(parent);
      this.directions.push(direction);
    }
  }

  boxesOf(state: number): number[] {
    return this.boxes.slice(state * this.boxCount, (state + 1) * this.boxCount);
  }

  /** The actions that lead from the first state to this one. */
  actionsTo(state: number): string[] {
    const actions: string[] = [];
    for (let at = state; at > 0; at = this.parents[at]) {
      actions.push(SOKOBAN_ACTIONS[this.directions[at]]);
    }
    return actions.reverse();
  }
}

/** The boxes after one of them moved, sorted again; null if another box is in the way. */
function pushedBoxes(boxes: readonly number[], from: number, to: number): number[] | null {
  if (boxes.includes(to)) {
    return null;
  }
  return boxes.map((box) => (box === from ? to : box)).sort((left, right) => left - right);
}

/**
 * Breadth-first search for a shortest solution, counted in actions (steps and pushes alike).
 *
 * States are the player's cell and the set of box cells. Pushes onto cells from which no target can be reached are
 * left out, which loses no solution.
 *
 * @param stateLimit states to look at before giving up
 */
export function solveBoard(board: SokobanBoard, stateLimit = DEFAULT_SEARCH_STATES): Solution {
  const { room, numberOf } = roomOf(board);
  const boxes = [...board.cells.keys()]
    .filter((index) => isBox(board.cells[index]))
    .map((index) => numberOf[index]);
  if (boxes.some((box) => room.alive[box] === 0)) {
    return { status: "unsolvable" };
  }
  const frontier = new Frontier(room.openCells, boxes.length);
  frontier.add(numberOf[board.player], boxes, -1, -1);
  for (let state = 0; state < frontier.players.length; state++) {
    const current = frontier.boxesOf(state);
    if (current.every((box) => room.isTarget[box] === 1)) {
      return { status: "solved", actions: frontier.actionsTo(state) };
    }
    if (state >= stateLimit) {
      return { status: "gave-up", states: state };
    }
    for (let direction = 0; direction < 4; direction++) {
      const to = room.neighbours[4 * frontier.players[state] + direction];
      if (to < 0) {
        continue;
      }
      if (!current.includes(to)) {
        frontier.add(to, current, state, direction);
        continue;
      }
      const beyond = room.neighbours[4 * to + direction];
      const pushed = beyond >= 0 && room.alive[beyond] === 1 ? pushedBoxes(current, to, beyond) : null;
      if (pushed !== null) {
        frontier.add(to, pushed, state, direction);
      }
    }
  }
  return { status: "unsolvable" };
}
