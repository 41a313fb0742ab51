const SIZE = 624;
const SHIFT = 397;

/**
 * MT19937 (Matsumoto and Nishimura 1998), the generator under Python's `random` and NumPy's legacy `np.random`,
 * with the reference code's two ways of seeding.
 */
export class MersenneTwister {
  private readonly words = new Uint32Array(SIZE);
  private position = SIZE;

  private constructor() {}

  /** The reference code's `init_genrand`; NumPy's `np.random.seed`. `seed` is an unsigned 32-bit integer. */
  static fromInteger(seed: number): MersenneTwister {
    const twister = new MersenneTwister();
    const words = twister.words;
    words[0] = seed;
    for (let index = 1; index < SIZE; index++) {
      const previous = words[index - 1] ^ (words[index - 1] >>> 30);
      words[index] = Math.imul(1812433253, previous) + index;
    }
    return twister;
  }

  /** The reference code's `init_by_array`; Python's `random.seed`. `key` holds at least one 32-bit word. */
  static fromKey(key: readonly number[]): MersenneTwister {
    const twister = MersenneTwister.fromInteger(19650218);
    const words = twister.words;
    let index = 1;
    const nextIndex = (): void => {
      index++;
      if (index >= SIZE) {
        words[0] = words[SIZE - 1];
        index = 1;
      }
    };
    const scrambled = (multiplier: number): number => {
      const previous = words[index - 1] ^ (words[index - 1] >>> 30);
      return words[index] ^ Math.imul(previous, multiplier);
    };
    for (let count = 0; count < Math.max(SIZE, key.length); count++) {
      const at = count % key.length;
      words[index] = scrambled(1664525) + key[at] + at;
      nextIndex();
    }
    for (let count = 1; count < SIZE; count++) {
      words[index] = scrambled(1566083941) - index;
      nextIndex();
    }
    words[0] = 0x80000000;
    return twister;
  }

  private refill(): void {
    const words = this.words;
    for (let index = 0; index < SIZE; index++) {
      const joined = (words[index] & 0x80000000) | (words[(index + 1) % SIZE] & 0x7fffffff);
      words[index] = words[(index + SHIFT) % SIZE] ^ (joined >>> 1) ^ (joined & 1 ? 0x9908b0df : 0);
    }
    this.position = 0;
  }

  /** The next 32 bits. */
  nextUint32(): number {
    if (this.position >= SIZE) {
      this.refill();
    }
    let word = this.words[this.position++];
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  /** Uniform in [0, 1) with 53 bits, from two draws (`genrand_res53`). */
  nextDouble(): number {
    const upper = this.nextUint32() >>> 5;
    const lower = this.nextUint32() >>> 6;
    return (upper * 67108864 + lower) / 9007199254740992;
  }
}
