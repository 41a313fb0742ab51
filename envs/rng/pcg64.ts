import { seedSequenceState } from "./seed-sequence.ts";

/** What `Pcg64.state()` returns: NumPy's own numbers, as decimal strings because they have 128 bits. */
export interface Pcg64State {
  state: string;
  increment: string;
  /** The upper half of the last 64-bit output, kept for the next 32-bit draw; null when there is none. */
  buffered: number | null;
}

/** Limbs of 16 bits, least significant first, of a 128-bit number. */
function limbsOf(value: bigint): number[] {
  return Array.from({ length: 8 }, (_, index) => Number((value >> BigInt(16 * index)) & 0xffffn));
}

function numberOf(limbs: ArrayLike<number>): bigint {
  let value = 0n;
  for (let index = 7; index >= 0; index--) {
    value = (value << 16n) | BigInt(limbs[index]);
  }
  return value;
}

const MASK_128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
const [M0, M1, M2, M3, M4, M5, M6, M7] = limbsOf(MULTIPLIER);

/**
 * NumPy's default bit generator PCG64 (PCG XSL RR 128/64, M. E. O'Neill 2014) with the `Generator` methods that the
 * environments need, equal to NumPy's bit for bit.
 *
 * The 128-bit state is held in 16-bit limbs: their products and sums are exact in a double, which is many times
 * faster than BigInt.
 */
export class Pcg64 {
  private limbs: Float64Array;
  private increment: Float64Array;
  private buffered = -1;
  private high = 0;
  private low = 0;

  /** `numpy.random.Generator(PCG64(SeedSequence(seed)))`; `seed` is a non-negative safe integer. */
  constructor(seed: number) {
    const words = seedSequenceState(seed, 8);
    const wide = (index: number): bigint => (BigInt(words[index + 1]) << 32n) | BigInt(words[index]);
    const start = (wide(0) << 64n) | wide(2);
    const increment = ((((wide(4) << 64n) | wide(6)) << 1n) | 1n) & MASK_128;
    this.increment = Float64Array.from(limbsOf(increment));
    this.limbs = Float64Array.from(limbsOf(((increment + start) * MULTIPLIER + increment) & MASK_128));
  }

  /** state = state * multiplier + increment, modulo 2^128. */
  private advance(): void {
    const s = this.limbs;
    const c = this.increment;
    const [s0, s1, s2, s3] = [s[0], s[1], s[2], s[3]];
    const [s4, s5, s6, s7] = [s[4], s[5], s[6], s[7]];
    let sum = c[0] + s0 * M0;
    s[0] = sum & 0xffff;
    sum = Math.floor(sum / 65536) + c[1] + s0 * M1 + s1 * M0;
    s[1] = sum & 0xffff;
    sum = Math.floor(sum / 65536) + c[2] + s0 * M2 + s1 * M1 + s2 * M0;
    s[2] = sum & 0xffff;
    sum = Math.floor(sum / 65536) + c[3] + s0 * M3 + s1 * M2 + s2 * M1 + s3 * M0;
    s[3] = sum & 0xffff;
    sum = Math.floor(sum / 65536) + c[4] + s0 * M4 + s1 * M3 + s2 * M2 + s3 * M1 + s4 * M0;
    s[4] = sum & 0xffff;
    sum = Math.floor(sum / 65536) + c[5] + s0 * M5 + s1 * M4 + s2 * M3 + s3 * M2 + s4 * M1 + s5 * M0;
    s[5] = sum & 0xffff;
    sum =
      Math.floor(sum / 65536) + c[6] + s0 * M6 + s1 * M5 + s2 * M4 + s3 * M3 + s4 * M2 + s5 * M1 + s6 * M0;
    s[6] = sum & 0xffff;
    sum = Math.floor(sum / 65536) + c[7] + s0 * M7 + s1 * M6 + s2 * M5 + s3 * M4 + s4 * M3 + s5 * M2;
    s[7] = (sum + s6 * M1 + s7 * M0) & 0xffff;
  }

  /** Draws 64 bits into `high` and `low`: the state's halves xor-ed, rotated right by the state's top six bits. */
  private draw(): void {
    this.advance();
    const s = this.limbs;
    const top = (s[7] << 16) | s[6];
    const high = top ^ ((s[3] << 16) | s[2]);
    const low = ((s[5] << 16) | s[4]) ^ ((s[1] << 16) | s[0]);
    const rotation = top >>> 26;
    const shift = rotation & 31;
    const upper = rotation < 32 ? high : low;
    const lower = rotation < 32 ? low : high;
    this.high = (shift === 0 ? upper : (upper >>> shift) | (lower << (32 - shift))) >>> 0;
    this.low = (shift === 0 ? lower : (lower >>> shift) | (upper << (32 - shift))) >>> 0;
  }

  /** The next raw 64-bit output. */
  nextUint64(): bigint {
    this.draw();
    return (BigInt(this.high) << 32n) | BigInt(this.low);
  }

  /** 32 bits; the lower half of a 64-bit output first, its upper half on the next call. */
  nextUint32(): number {
    if (this.buffered >= 0) {
      const half = this.buffered;
      this.buffered = -1;
      return half;
    }
    this.draw();
    this.buffered = this.high;
    return this.low;
  }

  /** `Generator.random()`: uniform in [0, 1) with 53 bits. Leaves a buffered half where it is, as NumPy does. */
  random(): number {
    this.draw();
    return (this.high * 2097152 + (this.low >>> 11)) / 9007199254740992;
  }

  /** `Generator.integers(bound)`: uniform in [0, bound) by Lemire's method on 32-bit draws; 1 <= bound < 2^32. */
  integer(bound: number): number {
    if (bound === 1) {
      return 0;
    }
    const rejected = (2 ** 32 - bound) % bound;
    for (;;) {
      const draw = this.nextUint32();
      // draw * bound can exceed 2^53, so its two halves are computed apart.
      const low = Math.imul(draw, bound) >>> 0;
      if (low >= rejected) {
        const upperHalf = Math.floor(draw / 65536) * bound;
        return Math.floor((upperHalf + Math.floor(((draw & 0xffff) * bound) / 65536)) / 65536);
      }
    }
  }

  /**
   * `Generator.choice(len(p), size=count, p=p)`: indices drawn by searching the cumulated probabilities
   * (`searchsorted(side="right")` after division by the last sum, like NumPy).
   */
  choices(probabilities: readonly number[], count: number): Uint8Array {
    const cumulated: number[] = [];
    let total = 0;
    for (const probability of probabilities) {
      total += probability;
      cumulated.push(total);
    }
    const bounds = cumulated.map((sum) => sum / total);
    return Uint8Array.from({ length: count }, () => {
      const uniform = this.random();
      const index = bounds.findIndex((bound) => uniform < bound);
      return index < 0 ? bounds.length - 1 : index;
    });
  }

  /** Everything that `restore` needs to go on with the same numbers. */
  state(): Pcg64State {
    return {
      state: numberOf(this.limbs).toString(),
      increment: numberOf(this.increment).toString(),
      buffered: this.buffered < 0 ? null : this.buffered,
    };
  }

  /** Takes over a state that `state()` returned. */
  restore(state: Pcg64State): void {
    this.limbs = Float64Array.from(limbsOf(BigInt(state.state)));
    this.increment = Float64Array.from(limbsOf(BigInt(state.increment)));
    this.buffered = state.buffered ?? -1;
  }
}
