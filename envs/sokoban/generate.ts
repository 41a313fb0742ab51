import { SpaError } from "../../lib/errors.ts";
import type { GridCells } from "../grid-text.ts";
import { NumpyLegacyRandom } from "../rng/numpy-legacy.ts";
import { PythonRandom } from "../rng/python-random.ts";
import { seedSequenceState } from "../rng/seed-sequence.ts";
import { BOX, COLUMN_STEPS, FLOOR, PLAYER, PLAYER_ON_TARGET, ROW_STEPS, TARGET, WALL } from "./board.ts";
import { reversePlay } from "./reverse-play.ts";

/** What a generated room should be like. */
export interface RoomOptions {
  rows: number;
  columns: number;
  boxes: number;
  /** Moves that the reverse search may be deep. */
  searchDepth: number;
}

const CHANGE_DIRECTION_PROBABILITY = 0.35;
const TOPOLOGIES_PER_SEED = 4;
const MAX_SEEDS = 200;

/** Shapes that the digger opens around itself, as offsets (row, column). */
const MASKS: readonly (readonly (readonly [number, number])[])[] = [
  [
    [0, -1],
    [0, 0],
    [0, 1],
  ],
  [
    [-1, 0],
    [0, 0],
    [1, 0],
  ],
  [
    [0, -1],
    [0, 0],
    [1, 0],
  ],
  [
    [0, -1],
    [0, 0],
    [1, -1],
    [1, 0],
  ],
  [
    [0, 0],
    [0, 1],
    [1, 0],
  ],
];

const WALK_DIRECTIONS = [
  [1, 0],
  [0, 1],
  [-1, 0],
  [0, -1],
] as const;

/** A random walk that opens floor inside solid rock; the frame stays wall. */
function digFloor({ rows, columns }: RoomOptions, random: PythonRandom): Uint8Array {
  const cells = new Uint8Array(rows * columns).fill(WALL);
  let [rowStep, columnStep] = random.sample(WALK_DIRECTIONS, 1)[0];
  let row = random.randint(1, rows - 1);
  let column = random.randint(1, columns - 1);
  const walkLength = Math.floor(1.7 * (rows + columns));
  for (let step = 0; step < walkLength; step++) {
    if (random.random() < CHANGE_DIRECTION_PROBABILITY) {
      [rowStep, columnStep] = random.sample(WALK_DIRECTIONS, 1)[0];
    }
    row = Math.max(Math.min(row + rowStep, rows - 2), 1);
    column = Math.max(Math.min(column + columnStep, columns - 2), 1);
    for (const [down, right] of random.sample(MASKS, 1)[0]) {
      const [openRow, openColumn] = [row + down, column + right];
      if (openRow > 0 && openRow < rows - 1 && openColumn > 0 && openColumn < columns - 1) {
        cells[openRow * columns + openColumn] = FLOOR;
      }
    }
  }
  return cells;
}

/** Draws one of the floor cells. */
function drawFloor(cells: Uint8Array, random: NumpyLegacyRandom): number {
  const floor = [...cells.keys()].filter((index) => cells[index] === FLOOR);
  return floor[random.randint(floor.length)];
}

/** Lets the player walk up to three free cells away from the last box it pulled; never back. */
function wander(room: GridCells, player: number, probability: number, random: PythonRandom): number {
  if (random.random() > probability) {
    return player;
  }
  const visited = [player];
  for (let steps = 1; steps <= 3; steps++) {
    const choices: number[] = [];
    for (let direction = 0; direction < 4; direction++) {
      const next =
        visited[visited.length - 1] + ROW_STEPS[direction] * room.columns + COLUMN_STEPS[direction];
      const free = room.cells[next] === FLOOR || room.cells[next] === TARGET;
      if (free && !visited.includes(next)) {
        choices.push(next);
      }
    }
    if (choices.length === 0) {
      break;
    }
    visited.push(random.choice(choices));
    if (steps === 3 || random.random() > 0.5) {
      break;
    }
  }
  return visited[visited.length - 1];
}

/** The room of one seed, or null when upstream, too, finds none with it. */
function roomOfSeed(seed: number, options: RoomOptions): GridCells | null {
  const { rows, columns } = options;
  const random = new PythonRandom(seed);
  const legacyRandom = new NumpyLegacyRandom(seed);
  for (let attempt = 0; attempt < TOPOLOGIES_PER_SEED; attempt++) {
    const structure = digFloor(options, random);
    const floorCells = structure.reduce((count, cell) => count + (cell === FLOOR ? 1 : 0), 0);
    if (floorCells <= options.boxes + 1) {
      return null;
    }
    const start = drawFloor(structure, legacyRandom);
    structure[start] = PLAYER;
    for (let box = 0; box < options.boxes; box++) {
      structure[drawFloor(structure, legacyRandom)] = TARGET;
    }
    structure[start] = FLOOR;
    const played = reversePlay({ rows, columns, cells: structure }, start, options.searchDepth);
    if (played.displacement > 0) {
      const room = { rows, columns, cells: structure };
      for (const box of played.boxes) {
        structure[box] = BOX;
      }
      const player = wander(room, played.player, played.displacement === 1 ? 0.8 : 0.5, random);
      structure[player] = structure[player] === TARGET ? PLAYER_ON_TARGET : PLAYER;
      return room;
    }
  }
  return null;
}

/**
 * The room that RAGEN (gym-sokoban) makes from the same seed: floor dug by a random walk, player and targets on random
 * floor cells, boxes pulled off the targets by a search backwards, and the player moved on by a few steps.
 *
 * For some seeds that finds nothing. Upstream then goes on with a hash of the seed that differs from process to
 * process; here the next seed is the first 32-bit word of NumPy's `SeedSequence(seed)`.
 *
 * @param seed from 0 to 2^32 - 1
 * @throws SpaError BAD_ARGUMENT when the options leave too little room
 */
export function generateRoom(seed: number, options: RoomOptions): GridCells {
  let trySeed = seed;
  for (let count = 0; count < MAX_SEEDS; count++) {
    const room = roomOfSeed(trySeed, options);
    if (room !== null) {
      return room;
    }
    trySeed = seedSequenceState(trySeed, 1)[0];
  }
  const { rows, columns, boxes } = options;
  const problem = `sokoban: no room of ${rows} x ${columns} with ${boxes} box${boxes === 1 ? "" : "es"} came out of seed ${seed}`;
  throw new SpaError("BAD_ARGUMENT", problem, { hint: "use a larger room, fewer boxes or a deeper search" });
}
