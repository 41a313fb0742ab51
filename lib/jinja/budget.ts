import { JinjaError } from "./error.ts";
import { extentOf, type Value } from "./values.ts";

/**
 * What one rendering may take: steps, items and characters together. A chat template needs some thousands of them; a million
 * is about a second.
 */
const largestCost = 1_000_000;

/** Counts what a rendering takes, so that no template runs without end or fills the memory. */
export class Budget {
  #left = largestCost;

  /** @throws JinjaError of kind limit when the rendering has taken too much; call it before something large is made */
  spend(cost: number): void {
    this.#left -= cost;
    if (!(this.#left >= 0)) {
      throw new JinjaError("limit", `it takes more than ${largestCost} steps, items and characters`);
    }
  }

  /** Spends as much as there is in values: before they are read through, and when they were put together. */
  spendOn(values: readonly Value[]): void {
    for (const value of values) this.spend(extentOf(value));
  }
}
