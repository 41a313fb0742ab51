import { FROZEN_LAKE_SYMBOLS } from "../../envs/frozen-lake/map.ts";
import { SOKOBAN_SYMBOLS } from "../../envs/sokoban/board.ts";
import { type Html, html } from "../report/html.ts";

/** What stands on a cell: the ground, and what is on it. */
type Cell = [ground: string, piece?: string];

const [wall, floor, target, boxOnTarget, box, player, playerOnTarget] = SOKOBAN_SYMBOLS;
const [walker, ice, hole, goal, sunk, arrived] = FROZEN_LAKE_SYMBOLS;

const games: Readonly<Record<string, Readonly<Record<string, Cell>>>> = {
  sokoban: {
    [wall]: ["wall"],
    [floor]: ["floor"],
    [target]: ["target"],
    [boxOnTarget]: ["target", "box"],
    [box]: ["floor", "box"],
    [player]: ["floor", "player"],
    [playerOnTarget]: ["target", "player"],
  },
  "frozen-lake": {
    [walker]: ["ice", "player"],
    [ice]: ["ice"],
    [hole]: ["hole"],
    [goal]: ["goal"],
    [sunk]: ["hole", "player"],
    [arrived]: ["goal", "player"],
  },
};

/** Cells of the longest grid that is drawn. */
const mostCells = 4096;

/** The side of a cell, in the drawing's units. */
const side = 20;

/** A state's grid as a drawing: of a game that is known by its pieces, of others by their symbols. Undefined for too large a grid. */
export function drawBoard(environment: string, grid: string): Html | undefined {
  // A row is its symbols, or words between blanks.
  const rows = grid.split("\n").map((line) => (line.includes(" ") ? line.split(" ") : Array.from(line)));
  const columns = Math.max(...rows.map((row) => row.length));
  if (columns * rows.length > mostCells) return undefined;
  const game = games[environment] ?? {};
  const cells = rows.flatMap((row, y) =>
    row.map((symbol, x) => drawCell(game[symbol], symbol, x * side, y * side)),
  );
  return html`<svg class="board" viewBox="0 0 ${columns * side} ${rows.length * side}" role="img" aria-label="${grid}">${cells}</svg>`;
}

function drawCell(cell: Cell | undefined, symbol: string, x: number, y: number): Html {
  const [ground, piece] = cell ?? ["plain"];
  const middle = side / 2;
  return html`<rect class="cell-${ground}" x="${x}" y="${y}" width="${side}" height="${side}"/>
${ground === "target" && html`<circle class="mark-target" cx="${x + middle}" cy="${y + middle}" r="4"/>`}
${piece === "box" && html`<rect class="piece-box" x="${x + 4}" y="${y + 4}" width="${side - 8}" height="${side - 8}" rx="2"/>`}
${piece === "player" && html`<circle class="piece-player" cx="${x + middle}" cy="${y + middle}" r="6"/>`}
${cell === undefined && html`<text x="${x + middle}" y="${y + middle}" text-anchor="middle" dominant-baseline="central">${symbol}</text>`}`;
}
