import type { SeededGenerator } from "../../rollout/seeded-generator.ts";
import { coordinatesOf, type StateForm, type StateText } from "../../text/state-text.ts";

/** How likely a state is described wrongly. */
interface NoiseOptions {
  /** That one to three cells are wrong; also, for each coordinate, that it is. */
  probability: number;
  /** Put what can move on a random cell: a state that says nothing about the effect of actions. */
  relocate: boolean;
}

const coordinatePattern = /\((\d+),(\d+)\)/g;
/** `Player (P) at (1,2)`: a symbol and its only place. */
const placedOncePattern = /\(([^\d\s()])\) at \((\d+),(\d+)\)(?!,? ?(?:and )?\()/gu;

/**
 * Describes states wrongly, for any environment whose states are grids of symbols, with or without a line of
 * coordinates under them.
 *
 * What symbols there are and how large coordinates get is learnt from examples.
 */
export class StateNoise {
  readonly #symbols: string[];
  readonly #rows: [number, number];
  readonly #columns: [number, number];

  constructor(examples: readonly StateText[]) {
    const symbols = new Set<string>();
    const rows: number[] = [];
    const columns: number[] = [];
    for (const { grid, structured } of examples) {
      for (const symbol of grid) if (isCell(symbol)) symbols.add(symbol);
      for (const [, row, column] of structured.matchAll(coordinatePattern)) {
        rows.push(Number(row));
        columns.push(Number(column));
      }
    }
    this.#symbols = [...symbols].sort();
    this.#rows = range(rows);
    this.#columns = range(columns);
  }

  /** A wrong description of `state`, in a form. */
  describe(state: StateText, form: StateForm, generator: SeededGenerator, options: NoiseOptions): string {
    const cells = [...state.grid];
    const line = coordinatesOf(state);
    const mover = line.match(/\(([^\d\s()])\)/u)?.[1];
    if (options.relocate) this.#relocate(cells, mover, generator);
    if (generator.chance(options.probability)) this.#corrupt(cells, generator);
    const grid = cells.join("");
    if (form === "grid") return grid;
    const coordinates = this.#describeLine(line, grid, generator, options.probability);
    if (form === "coordinates") return coordinates;
    return line === "" ? grid : `${grid}\n${coordinates}`;
  }

  /** The coordinates of `state` alone, each wrong with the given probability; empty where it has none. */
  coordinates(state: StateText, generator: SeededGenerator, probability: number): string {
    return this.randomCoordinates(coordinatesOf(state), generator, probability);
  }

  /** `text` with each `(row,column)` replaced by a random one with the given probability. */
  randomCoordinates(text: string, generator: SeededGenerator, probability: number): string {
    const draw = ([low, high]: [number, number]) => low + generator.integer(high - low + 1);
    return text.replace(coordinatePattern, (place) =>
      generator.chance(probability) ? `(${draw(this.#rows)},${draw(this.#columns)})` : place,
    );
  }

  /** Exchanges the mover with a random cell; without a mover two random cells. */
  #relocate(cells: string[], mover: string | undefined, generator: SeededGenerator): void {
    const places = cellPlaces(cells);
    if (places.length === 0) return;
    const from = mover === undefined ? -1 : cells.indexOf(mover);
    const source = from >= 0 ? from : generator.choice(places);
    const target = generator.choice(places);
    [cells[source], cells[target]] = [cells[target], cells[source]];
  }

  /** Writes random symbols into one to three random cells. */
  #corrupt(cells: string[], generator: SeededGenerator): void {
    const places = cellPlaces(cells);
    if (places.length === 0) return;
    for (let count = generator.integer(3) + 1; count > 0; count--) {
      cells[generator.choice(places)] = generator.choice(this.#symbols);
    }
  }

  /** The coordinate line that goes with a wrong grid, as far as symbols that occur once tell, and then made wrong. */
  #describeLine(line: string, grid: string, generator: SeededGenerator, probability: number): string {
    const rows = grid.split("\n").map((row) => [...row]);
    const fitting = line.replace(placedOncePattern, (clause, symbol: string) => {
      const row = rows.findIndex((cells) => cells.includes(symbol));
      return row < 0 ? clause : `(${symbol}) at (${row},${rows[row].indexOf(symbol)})`;
    });
    return this.randomCoordinates(fitting, generator, probability);
  }
}

function isCell(character: string): boolean {
  return !/[\s|]/.test(character);
}

function cellPlaces(cells: readonly string[]): number[] {
  return [...cells.keys()].filter((index) => isCell(cells[index]));
}

function range(values: readonly number[]): [number, number] {
  if (values.length === 0) return [0, 0];
  const least = values.reduce((a, b) => Math.min(a, b));
  return [least, values.reduce((a, b) => Math.max(a, b))];
}
