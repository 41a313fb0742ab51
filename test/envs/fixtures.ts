import { readFileSync } from "node:fs";

/** Reads a reference file of test/fixtures/envs. */
export function fixture<Content>(name: string): Content {
  return JSON.parse(readFileSync(new URL(`../fixtures/envs/${name}`, import.meta.url), "utf8"));
}

interface RandomTrace {
  seed: number;
  py_getrandbits32: number[];
  py_random: number[];
  py_randint_1_5: number[];
  py_sample4_1: number[];
  py_choice3: number[];
  np_randint_bound7: number[];
  np_randint_bound16: number[];
  np_random: number[];
}

type SokobanStep = [number, string, number, boolean, boolean, boolean];

export interface SokobanFixture {
  actions: Record<string, string>;
  rooms: {
    group: string;
    seed: number;
    dim: [number, number];
    num_boxes: number;
    max_steps: number;
    search_depth: number;
    fallback_error: false | string;
    initial: string;
    shortest: number;
    solution: number[];
    kind: string;
    steps: SokobanStep[];
  }[];
  rng_trace: RandomTrace[];
}

export type FrozenLakeStep = [number, string, number, boolean, boolean, boolean, number?];

export interface FrozenLakeFixture {
  actions: Record<string, string>;
  maps: {
    size: number;
    p: number;
    seed: number;
    desc: string[];
    initial: string;
    shortest: number;
    replay: { kind: string; steps: FrozenLakeStep[] };
    slippery_replay?: { kind: string; steps: FrozenLakeStep[] };
    slippery_next: number[][][];
  }[];
}

interface MapFixture {
  seed: number;
  attempts: number;
  map: string[];
}

export interface FrozenLakeMapsFixture {
  "size4_p0.8": MapFixture[];
  "size6_p0.8": MapFixture[];
  "size8_p0.8": MapFixture[];
  "size4_p0.8_bigseeds": MapFixture[];
  rng_trace: {
    seed: number;
    seedseq_state_u32: number[];
    pcg64_state: string;
    pcg64_inc: string;
    raw_u64: string[];
    random: number[];
    integers4_x2: [number, number][];
    integers6_x2: [number, number][];
    "choice_FH_3x3_p.8": string[];
    random_after: number;
  }[];
}

type SudokuStep = [
  string,
  [number | null, number | null, number | null],
  string,
  string,
  number,
  boolean,
  boolean,
  boolean,
  boolean,
];

export interface SudokuFixture {
  episodes: {
    difficulty: string;
    max_steps: number;
    seed: number;
    puzzle: number[][];
    solution: number[][];
    clues: number;
    initial_text: string;
    kind: string;
    steps: SudokuStep[];
  }[];
  parse_table: [string, [number | null, number | null, number | null]][];
  generator_9x9: { seed: number; puzzle: number[][]; solution: number[][] }[];
  shuffle_trace: { seed: number; shuffle16: number[]; then_shuffle2: number[] }[];
}
