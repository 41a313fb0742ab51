import { describe, expect, it } from "vitest";
import { NumpyLegacyRandom } from "../../envs/rng/numpy-legacy.ts";
import { Pcg64 } from "../../envs/rng/pcg64.ts";
import { PythonRandom } from "../../envs/rng/python-random.ts";
import { seedSequenceState } from "../../envs/rng/seed-sequence.ts";
import { type FrozenLakeMapsFixture, fixture, type SokobanFixture, type SudokuFixture } from "./fixtures.ts";

const numpyTraces = fixture<FrozenLakeMapsFixture>("frozen-lake-maps.json").rng_trace;
const twisterTraces = fixture<SokobanFixture>("sokoban.json").rng_trace;
const shuffleTraces = fixture<SudokuFixture>("sudoku.json").shuffle_trace;

/** `count` values of `draw`, in order. */
function drawn<Value>(count: number, draw: () => Value): Value[] {
  return Array.from({ length: count }, draw);
}

describe("NumPy's SeedSequence and PCG64", () => {
  it.each(numpyTraces)("seed $seed gives NumPy's numbers", (trace) => {
    expect([...seedSequenceState(trace.seed, 8)]).toEqual(trace.seedseq_state_u32);

    const raw = new Pcg64(trace.seed);
    expect(raw.state()).toEqual({ state: trace.pcg64_state, increment: trace.pcg64_inc, buffered: null });
    expect(drawn(trace.raw_u64.length, () => raw.nextUint64().toString())).toEqual(trace.raw_u64);

    const generator = new Pcg64(trace.seed);
    const pair = (bound: number) => (): number[] => [generator.integer(bound), generator.integer(bound)];
    expect(drawn(5, () => generator.random())).toEqual(trace.random);
    expect(drawn(6, pair(4))).toEqual(trace.integers4_x2);
    expect(drawn(6, pair(6))).toEqual(trace.integers6_x2);
    const cells = [...generator.choices([0.8, 1 - 0.8], 9)].map((index) => "FH"[index]).join("");
    expect([cells.slice(0, 3), cells.slice(3, 6), cells.slice(6)]).toEqual(trace["choice_FH_3x3_p.8"]);
    expect(generator.random()).toBe(trace.random_after);
  });

  it("goes on with the same numbers after state() and restore(), the buffered half included", () => {
    const generator = new Pcg64(7);
    generator.integer(6);
    const copy = new Pcg64(0);
    copy.restore(JSON.parse(JSON.stringify(generator.state())));
    const next = (from: Pcg64) => drawn(20, () => [from.integer(6), from.random(), from.integer(1000003)]);
    expect(next(copy)).toEqual(next(generator));
  });

  it("draws integers below bounds that are no power of two, up to 2^32 - 1", () => {
    const generator = new Pcg64(1);
    const draws = drawn(200, () => generator.integer(4294967295));
    expect(Math.max(...draws)).toBeGreaterThan(2 ** 31);
    expect(draws.every((draw) => Number.isInteger(draw) && draw >= 0 && draw < 4294967295)).toBe(true);
  });
});

describe("Python's random and NumPy's legacy generator", () => {
  it.each(twisterTraces)("seed $seed gives their numbers", (trace) => {
    const random = new PythonRandom(trace.seed);
    expect(drawn(4, () => random.getrandbits(32))).toEqual(trace.py_getrandbits32);
    expect(drawn(3, () => random.random())).toEqual(trace.py_random);
    expect(drawn(6, () => random.randint(1, 5))).toEqual(trace.py_randint_1_5);
    expect(drawn(6, () => random.sample([0, 1, 2, 3], 1)[0])).toEqual(trace.py_sample4_1);
    expect(drawn(6, () => random.choice([0, 1, 2]))).toEqual(trace.py_choice3);

    const legacy = new NumpyLegacyRandom(trace.seed);
    expect(drawn(6, () => legacy.randint(7))).toEqual(trace.np_randint_bound7);
    expect(drawn(4, () => legacy.randint(16))).toEqual(trace.np_randint_bound16);
    expect(drawn(3, () => legacy.random())).toEqual(trace.np_random);
  });

  it.each(shuffleTraces)("shuffles like random.Random($seed)", (trace) => {
    const random = new PythonRandom(trace.seed);
    const sixteen = drawn(16, () => 0).map((_, index) => index);
    random.shuffle(sixteen);
    expect(sixteen).toEqual(trace.shuffle16);
    const two = [0, 1];
    random.shuffle(two);
    expect(two).toEqual(trace.then_shuffle2);
  });
});
