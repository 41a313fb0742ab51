/** Multipliers and start values of the hash, as in NumPy's `SeedSequence` (after M. E. O'Neill's `seed_seq_fe`). */
const INIT_A = 0x43b0d7e5;
const MULTIPLIER_A = 0x931e8875;
const INIT_B = 0x8b51f9dd;
const MULTIPLIER_B = 0x58f38ded;
const MIX_LEFT = 0xca01f9dd;
const MIX_RIGHT = 0x4973f715;
const POOL_SIZE = 4;

/** The 32-bit words of a non-negative integer, least significant first; zero is one word. */
export function integerWords(value: number): number[] {
  const words = [value >>> 0];
  for (let rest = Math.floor(value / 2 ** 32); rest > 0; rest = Math.floor(rest / 2 ** 32)) {
    words.push(rest >>> 0);
  }
  return words;
}

function foldHalves(value: number): number {
  return (value ^ (value >>> 16)) >>> 0;
}

function mix(left: number, right: number): number {
  return foldHalves((Math.imul(MIX_LEFT, left) - Math.imul(MIX_RIGHT, right)) | 0);
}

function entropyPool(entropy: readonly number[]): number[] {
  let constant = INIT_A;
  const hash = (value: number): number => {
    const keyed = value ^ constant;
    constant = Math.imul(constant, MULTIPLIER_A);
    return foldHalves(Math.imul(keyed, constant));
  };
  const pool = Array.from({ length: POOL_SIZE }, (_, index) => hash(entropy[index] ?? 0));
  for (let source = 0; source < POOL_SIZE; source++) {
    for (let target = 0; target < POOL_SIZE; target++) {
      if (source !== target) {
        pool[target] = mix(pool[target], hash(pool[source]));
      }
    }
  }
  for (const word of entropy.slice(POOL_SIZE)) {
    for (let target = 0; target < POOL_SIZE; target++) {
      pool[target] = mix(pool[target], hash(word));
    }
  }
  return pool;
}

/**
 * `numpy.random.SeedSequence(seed).generate_state(count)`: `count` unsigned 32-bit words.
 *
 * @param seed a non-negative safe integer
 */
export function seedSequenceState(seed: number, count: number): Uint32Array {
  const pool = entropyPool(integerWords(seed));
  const words = new Uint32Array(count);
  let constant = INIT_B;
  for (let index = 0; index < count; index++) {
    const keyed = pool[index % POOL_SIZE] ^ constant;
    constant = Math.imul(constant, MULTIPLIER_B);
    words[index] = foldHalves(Math.imul(keyed, constant));
  }
  return words;
}
