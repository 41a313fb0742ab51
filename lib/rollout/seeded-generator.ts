import { createHash } from "node:crypto";
import { Pcg64, type Pcg64State } from "../../envs/rng/pcg64.ts";

/**
 * Random choices of the TypeScript side (shuffles, traces, bootstrap), all from PCG64.
 *
 * A generator is keyed by what it is for, e.g. `new SeededGenerator(seed, "spa/sft", "epoch", 3)`. Where a choice
 * belongs to a step, the step is part of the key: a resumed run then makes the same choices without any stored state.
 * Generators that live longer are saved with `state()`.
 */
export class SeededGenerator {
  readonly #bits: Pcg64;

  /** @param key numbers and words; equal keys give equal generators */
  constructor(...key: readonly (number | string)[]) {
    this.#bits = new Pcg64(seedOf(...key));
  }

  /** Uniform in [0, 1). */
  random(): number {
    return this.#bits.random();
  }

  /** Uniform in 0 .. bound - 1. */
  integer(bound: number): number {
    return this.#bits.integer(bound);
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.#bits.random() < probability;
  }

  /** One of the items. */
  choice<T>(items: ArrayLike<T>): T {
    return items[this.#bits.integer(items.length)];
  }

  /** An index drawn with the given weights, which need not add up to one. */
  weighted(weights: readonly number[]): number {
    let rest = this.#bits.random() * weights.reduce((sum, weight) => sum + weight, 0);
    for (let index = 0; index < weights.length - 1; index++) {
      rest -= weights[index];
      if (rest < 0) return index;
    }
    return weights.length - 1;
  }

  /** The numbers 0 .. length - 1 in random order (Fisher and Yates). */
  permutation(length: number): Uint32Array {
    const order = Uint32Array.from({ length }, (_, index) => index);
    for (let last = length - 1; last > 0; last--) {
      const other = this.#bits.integer(last + 1);
      const kept = order[last];
      order[last] = order[other];
      order[other] = kept;
    }
    return order;
  }

  state(): Pcg64State {
    return this.#bits.state();
  }

  restore(state: Pcg64State): void {
    this.#bits.restore(state);
  }
}

/** A seed of 48 bits made of words and numbers, for generators and for the engine's sampling streams. */
export function seedOf(...key: readonly (number | string)[]): number {
  return createHash("sha256").update(JSON.stringify(key)).digest().readUIntBE(0, 6);
}
