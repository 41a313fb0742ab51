import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished } from "vitest";
import { Engine, type Model, type ModelConfigInput, SpaError, type SpaErrorCode } from "../../lib/index.ts";

const folder = join(dirname(fileURLToPath(import.meta.url)), "..", "fixtures");

export const tinyModels = ["qwen2_tiny", "qwen3_tiny", "llama_tiny"] as const;

/** A file or folder of test/fixtures. */
export function fixture(...path: string[]): string {
  return join(folder, ...path);
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

/** The values of transformers for a tiny model: see ../fixtures/README.md. */
export interface Expected {
  input_ids: number[];
  logprobs: number[];
  entropy: number[];
  long: { input_ids: number[]; logprobs: number[] };
  greedy: { prompt: number[]; continuation: number[]; top1_top2_margin: number[] };
  rows: { ids: number[]; logprobs: number[]; argmax_next: number }[];
  train: {
    loss0: number;
    grad_total_norm: number;
    /** By parameter name. */
    grad_norms: Record<string, number>;
    adamw: { lr: number; loss_after_step: number[] };
    adamw_clip1: { reported_norm: number; loss_after_step1: number };
  };
  bf16: { logprobs: number[] };
  bf16_weights_fp32_math: { logprobs: number[] };
}

export function expectedOf(name: string): Expected {
  return readJson(fixture(name, "expected.json"));
}

/** A tiny model's shape for tests that make their own weights. */
export const smallShape: ModelConfigInput = {
  vocabularySize: 48,
  hiddenSize: 32,
  intermediateSize: 64,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  maxPositions: 128,
};

/** One thread is enough for tiny models, and leaves the other core to other test files. */
export function makeEngine(): Promise<Engine> {
  return Engine.create({ device: "cpu", threads: 1 });
}

/** An engine that ends with the test. */
export async function testEngine(): Promise<Engine> {
  const engine = await makeEngine();
  onTestFinished(() => engine.dispose());
  return engine;
}

/** Rows end to end. */
export function pack(rows: ArrayLike<number>[]): { tokens: Int32Array; offsets: Uint32Array } {
  const tokens = Int32Array.from(rows.flatMap((row) => Array.from(row)));
  const offsets = new Uint32Array(rows.length + 1);
  for (const [i, row] of rows.entries()) offsets[i + 1] = offsets[i] + row.length;
  return { tokens, offsets };
}

/** Row i of packed per-token values. */
export function row<T extends Float32Array | Int32Array>(values: T, offsets: Uint32Array, i: number): T {
  return values.subarray(offsets[i], offsets[i + 1]) as T;
}

/** Pseudo-random rows of given lengths, the same every time. */
export function someRows(lengths: number[], vocabulary = 48, seed = 1): Int32Array[] {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
  return lengths.map((length) => Int32Array.from({ length }, () => next() % vocabulary));
}

/** All entries within `tolerance` of each other. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i] - expected[i]);
    if (!(difference <= worst)) worst = difference;
  }
  expect(worst).toBeLessThanOrEqual(tolerance);
}

/** The SpaError that a promise rejects with or a function throws, with its code checked. */
export async function failure(
  what: Promise<unknown> | (() => unknown),
  code: SpaErrorCode,
): Promise<SpaError> {
  let error: unknown;
  try {
    await (typeof what === "function" ? what() : what);
  } catch (thrown) {
    error = thrown;
  }
  expect(error, "nothing was thrown").toBeDefined();
  expect(error).toBeInstanceOf(SpaError);
  const spaError = error as SpaError;
  expect(spaError.code, spaError.message).toBe(code);
  return spaError;
}

/** A folder that goes away with the test. */
export function scratchFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "spa-native-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A copy of a tiny model's folder, to be damaged. */
export function copyOfModel(name: string = "qwen2_tiny"): string {
  const path = scratchFolder();
  cpSync(fixture(name), path, { recursive: true });
  return path;
}

/** Every number of a model's outputs on some rows, to compare weights by. */
export async function fingerprint(model: Model): Promise<Float32Array> {
  return model.logProbs(pack(someRows([9, 5], model.config.vocabularySize)));
}
