import { MersenneTwister } from "./mersenne-twister.ts";
import { integerWords } from "./seed-sequence.ts";

/** Python's `random.Random(seed)` (CPython 3.11 and later) for a non-negative safe integer, equal draw by draw. */
export class PythonRandom {
  private readonly twister: MersenneTwister;

  constructor(seed: number) {
    this.twister = MersenneTwister.fromKey(integerWords(seed));
  }

  /** `random.random()`: uniform in [0, 1). */
  random(): number {
    return this.twister.nextDouble();
  }

  /** `random.getrandbits(count)` for 1 <= count <= 32. */
  getrandbits(count: number): number {
    return this.twister.nextUint32() >>> (32 - count);
  }

  /** Uniform in [0, bound), 1 <= bound < 2^32: draws as many bits as `bound` has and rejects what is too large. */
  private below(bound: number): number {
    const bits = 32 - Math.clz32(bound);
    let draw = this.getrandbits(bits);
    while (draw >= bound) {
      draw = this.getrandbits(bits);
    }
    return draw;
  }

  /** `random.randint(low, high)`: both ends included. */
  randint(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** `random.choice(items)`. */
  choice<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)];
  }

  /** `random.shuffle(items)`, in place. */
  shuffle<Item>(items: Item[]): void {
    for (let index = items.length - 1; index > 0; index--) {
      const other = this.below(index + 1);
      [items[index], items[other]] = [items[other], items[index]];
    }
  }

  /** `random.sample(items, count)`: like CPython, from a shrinking pool when that is small, else by rejection. */
  sample<Item>(items: readonly Item[], count: number): Item[] {
    let poolLimit = 21;
    if (count > 5) {
      poolLimit += 4 ** Math.ceil(Math.log(count * 3) / Math.log(4));
    }
    if (items.length <= poolLimit) {
      const pool = [...items];
      return Array.from({ length: count }, (_, drawn) => {
        const index = this.below(pool.length - drawn);
        const item = pool[index];
        pool[index] = pool[pool.length - drawn - 1];
        return item;
      });
    }
    const chosen = new Set<number>();
    while (chosen.size < count) {
      chosen.add(this.below(items.length));
    }
    return [...chosen].map((index) => items[index]);
  }
}
