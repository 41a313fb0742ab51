import {
  badLevel,
  type GridCells,
  placeOf,
  readGrid,
  type TextPlace,
  type Vocabulary,
  wholeGrid,
} from "../grid-text.ts";
import { BOX, hasTarget, isBox, isPlayer, PLAYER, PLAYER_ON_TARGET, SokobanBoard, TARGET } from "./board.ts";
import { closeOutside, readXsb } from "./xsb.ts";

const NAME = "sokoban";

/** The indices of the cells for which `belongs` holds. */
function indicesOf({ cells }: GridCells, belongs: (cell: number) => boolean): number[] {
  return [...cells.keys()].filter((index) => belongs(cells[index]));
}

/** A room read from text, and where its player stands in it. */
export interface ReadRoom {
  board: SokobanBoard;
  player: TextPlace;
}

/**
 * Reads a room from text, solvable or not: in the environment's own symbols, or in XSB ({@link readXsb}).
 *
 * @throws SpaError BAD_LEVEL, with line and column, for a malformed text, no player or several, no boxes, another
 *   number of targets than of boxes, or a room that is solved already
 */
export function readSokobanLevel(text: string, vocabulary: Vocabulary): ReadRoom {
  const xsb = readXsb(text, vocabulary);
  const grid = readGrid(NAME, xsb?.text ?? text, vocabulary, xsb?.origin);
  const { shown } = vocabulary;
  const players = indicesOf(grid, isPlayer);
  const playerSymbols = `${shown[PLAYER]} or ${shown[PLAYER_ON_TARGET]}`;
  if (players.length === 0) {
    throw badLevel(NAME, wholeGrid(grid), `no player (${playerSymbols})`, "put one player into the room");
  }
  if (players.length > 1) {
    const place = placeOf(players[1], grid);
    throw badLevel(NAME, place, `a second player (${playerSymbols})`, "leave one player");
  }
  const boxes = indicesOf(grid, isBox);
  const targets = indicesOf(grid, hasTarget);
  if (boxes.length === 0) {
    throw badLevel(
      NAME,
      wholeGrid(grid),
      `no box (${shown[BOX]})`,
      "put at least one box and one target into it",
    );
  }
  if (boxes.length !== targets.length) {
    const surplus = boxes.length > targets.length ? boxes : targets;
    const place = surplus.length === 0 ? wholeGrid(grid) : placeOf(surplus[surplus.length - 1], grid);
    const problem = `unequal numbers of boxes (${shown[BOX]}: ${boxes.length}) and targets (${shown[TARGET]}: ${targets.length})`;
    throw badLevel(NAME, place, problem, "give every box one target");
  }
  if (xsb !== null) closeOutside(grid, players[0]);
  const board = new SokobanBoard(grid);
  if (board.solved) {
    throw badLevel(NAME, wholeGrid(grid), "every box is on a target already", "move a box off its target");
  }
  return { board, player: placeOf(players[0], grid) };
}

/** The BAD_LEVEL error for a room that has no solution. */
export function unsolvableLevel(player: TextPlace): Error {
  const hint = "check that every box can be pushed to a target and that the player can get behind it";
  return badLevel(NAME, player, "the room has no solution for this player", hint);
}
