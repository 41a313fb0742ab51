import type { GridCells } from "../grid-text.ts";
import { COLUMN_STEPS, FLOOR, ROW_STEPS, TARGET } from "./board.ts";

/** States after which the search backwards stops, as upstream. */
const MAX_EXPLORED = 300_000;

/** The position that scored best. */
export interface ReversePlayed {
  player: number;
  /** Box cells, by the target that each was pulled from (targets in reading order). */
  boxes: number[];
  /** Sum of the Manhattan distances between boxes and their targets; 0 when the search found no position worth playing. */
  displacement: number;
}

/**
 * gym-sokoban's search for a starting position, in RAGEN's variant: a depth-first search plays backwards from the
 * solved room, where every move takes along the box behind the player. The score of a position is the number of
 * changes between boxes times their displacement, and 0 while a target is covered; the first best one wins.
 *
 * @param structure floor, walls and targets; each target begins with its box on it
 * @param player cell of the player in the solved room
 * @param searchDepth moves that the search may be deep, the first state included
 */
export function reversePlay(structure: GridCells, player: number, searchDepth: number): ReversePlayed {
  const search = new ReverseSearch(structure, player);
  search.explore(0, -1, searchDepth - 1);
  return search.best;
}

class ReverseSearch {
  best: ReversePlayed;
  private bestScore = -1;
  private readonly structure: GridCells;
  private readonly targets: number[];
  /** Current cell of each box, by its target's number. */
  private readonly boxes: number[];
  /** Upstream marks a box once it was pulled, and takes the marked and the unmarked for different states. */
  private readonly pulled: boolean[];
  private readonly boxAt: Int16Array;
  private player: number;
  private readonly explored = new Set<string>();

  constructor(structure: GridCells, player: number) {
    this.structure = structure;
    this.targets = [...structure.cells.keys()].filter((index) => structure.cells[index] === TARGET);
    this.boxes = [...this.targets];
    this.pulled = this.targets.map(() => false);
    this.boxAt = new Int16Array(structure.cells.length).fill(-1);
    for (const [box, cell] of this.targets.entries()) {
      this.boxAt[cell] = box;
    }
    this.player = player;
    this.best = { player, boxes: [...this.targets], displacement: 0 };
  }

  private displacement(): number {
    const { columns } = this.structure;
    return this.boxes.reduce((sum, cell, box) => {
      const target = this.targets[box];
      const rowDistance = Math.abs(Math.floor(cell / columns) - Math.floor(target / columns));
      return sum + rowDistance + Math.abs((cell % columns) - (target % columns));
    }, 0);
  }

  private key(): string {
    const boxes = this.boxes.map((cell, box) => 2 * cell + (this.pulled[box] ? 1 : 0));
    boxes.sort((left, right) => left - right);
    return String.fromCharCode(this.player, ...boxes);
  }

  private allTargetsVisible(): boolean {
    return this.targets.every((target) => this.boxAt[target] < 0 && this.player !== target);
  }

  /**
   * @param swaps how often a pull took another box than the pull before
   * @param lastPulled number of the box that was pulled last, -1 for none
   * @param movesLeft moves that the search may still go deeper, plus one
   */
  explore(swaps: number, lastPulled: number, movesLeft: number): void {
    if (movesLeft <= 0 || this.explored.size >= MAX_EXPLORED) {
      return;
    }
    const key = this.key();
    if (this.explored.has(key)) {
      return;
    }
    this.explored.add(key);
    const displacement = this.displacement();
    const score = this.allTargetsVisible() ? swaps * displacement : 0;
    if (score > this.bestScore) {
      this.bestScore = score;
      this.best = { player: this.player, boxes: [...this.boxes], displacement };
    }
    for (let direction = 0; direction < 4; direction++) {
      this.tryMove(direction, swaps, lastPulled, movesLeft);
    }
  }

  /** Makes a move, explores what follows and takes the move back. */
  private tryMove(direction: number, swaps: number, lastPulled: number, movesLeft: number): void {
    const { cells, columns } = this.structure;
    const from = this.player;
    const step = ROW_STEPS[direction] * columns + COLUMN_STEPS[direction];
    const to = from + step;
    const free = (cells[to] === FLOOR || cells[to] === TARGET) && this.boxAt[to] < 0;
    if (!free) {
      return;
    }
    this.player = to;
    const box = this.boxAt[from - step];
    if (box < 0) {
      this.explore(swaps, lastPulled, movesLeft - 1);
    } else {
      const wasPulled = this.pulled[box];
      this.placeBox(box, from - step, from);
      this.pulled[box] = true;
      this.explore(box === lastPulled ? swaps : swaps + 1, box, movesLeft - 1);
      this.pulled[box] = wasPulled;
      this.placeBox(box, from, from - step);
    }
    this.player = from;
  }

  private placeBox(box: number, from: number, to: number): void {
    this.boxAt[from] = -1;
    this.boxAt[to] = box;
    this.boxes[box] = to;
  }
}
