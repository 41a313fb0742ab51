import { MersenneTwister } from "./mersenne-twister.ts";

/** NumPy's legacy global generator after `np.random.seed(seed)`; `seed` is an unsigned 32-bit integer. */
export class NumpyLegacyRandom {
  private readonly twister: MersenneTwister;

  constructor(seed: number) {
    this.twister = MersenneTwister.fromInteger(seed);
  }

  /** `np.random.randint(bound)`, 1 <= bound <= 2^32: masks a 32-bit draw and rejects what is too large. */
  randint(bound: number): number {
    const largest = bound - 1;
    if (largest === 0) {
      return 0;
    }
    const mask = 0xffffffff >>> Math.clz32(largest);
    let draw = (this.twister.nextUint32() & mask) >>> 0;
    while (draw > largest) {
      draw = (this.twister.nextUint32() & mask) >>> 0;
    }
    return draw;
  }

  /** `np.random.random()`: uniform in [0, 1). */
  random(): number {
    return this.twister.nextDouble();
  }
}
