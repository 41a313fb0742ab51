import { coordinates, placed, type Vocabulary } from "../grid-text.ts";
import { BOX, hasTarget, isBox, isPlayer, PLAYER, ROW_STEPS, type SokobanBoard, TARGET } from "./board.ts";

/** The text of a board's grid, kept row by row so that a move rewrites only the rows it touches. */
export class SokobanText {
  text = "";
  private readonly board: SokobanBoard;
  private readonly symbols: readonly string[];
  private readonly lines: string[];

  constructor(board: SokobanBoard, symbols: readonly string[]) {
    this.board = board;
    this.symbols = symbols;
    this.lines = new Array<string>(board.rows).fill("");
    for (let row = 0; row < board.rows; row++) {
      this.rewrite(row);
    }
    this.text = this.lines.join("\n");
  }

  private rewrite(row: number): void {
    const { cells, stride, columns } = this.board;
    const start = (row + 1) * stride + 1;
    let line = "";
    for (let index = start; index < start + columns; index++) {
      line += this.symbols[cells[index]];
    }
    this.lines[row] = line;
  }

  /**
   * Follows a move of the board.
   *
   * @param cellsMoved WALKED or PUSHED, as the move returned: a vertical push touches one row more than a walk
   */
  follow(direction: number, cellsMoved: number): void {
    const { player, stride } = this.board;
    const row = Math.floor(player / stride) - 1;
    const step = ROW_STEPS[direction];
    this.rewrite(row);
    if (step !== 0) {
      this.rewrite(row - step);
      if (cellsMoved > 1) {
        this.rewrite(row + step);
      }
    }
    this.text = this.lines.join("\n");
  }
}

/**
 * `Player (P) at (3,3); box (X) at (2,3); goal (O) at (1,4).`, zero-based (row,column); several boxes or goals are
 * listed in reading order.
 *
 * Player, boxes and goals are listed under their own symbols also when they share a cell: a box on its goal is in both
 * lists.
 */
export function describeSokoban(board: SokobanBoard, vocabulary: Vocabulary): string {
  const { cells, columns } = board.grid();
  const { shown } = vocabulary;
  const placesOf = (belongs: (cell: number) => boolean): string[] => {
    const places: string[] = [];
    for (const [index, cell] of cells.entries()) {
      if (belongs(cell)) {
        places.push(coordinates(index, columns));
      }
    }
    return places;
  };
  const clauses = [
    `Player (${shown[PLAYER]}) at ${placesOf(isPlayer)[0]}`,
    placed("box", "boxes", shown[BOX], placesOf(isBox)),
    placed("goal", "goals", shown[TARGET], placesOf(hasTarget)),
  ];
  return `${clauses.join("; ")}.`;
}
