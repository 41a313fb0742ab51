// The trainer's losses on plain arrays against verl (../fixtures/README.md), with gradients.
import { describe, expect, test } from "vitest";
import { loadAddon } from "../../lib/addon/loader.ts";
import { checkLoss } from "../../lib/engine/train-batch.ts";
import type { Aggregation, KlEstimator, PpoLoss } from "../../lib/index.ts";
import { expectClose, fixture, readJson } from "../engine/fixtures.ts";

interface PolicyCase {
  name: string;
  old_log_prob: number[][];
  log_prob: number[][];
  advantages: number[][];
  mask: number[][];
  results: {
    clip_low: number;
    clip_high: number;
    clip_c: number;
    agg: Aggregation;
    new_fp64: { pg_loss: number; pg_clipfrac: number; ppo_kl: number; pg_clipfrac_lower: number };
    grad_log_prob_new_fp64?: number[][];
  }[];
}

interface ValueCase {
  values: number[][];
  vpreds: number[][];
  returns: number[][];
  mask: number[][];
  results: {
    cliprange_value: number;
    agg: Aggregation;
    fp64: { vf_loss: number; vf_clipfrac: number };
    grad_vpreds_fp64?: number[][];
  }[];
}

interface AggregationCase {
  name: string;
  loss_mat: number[][];
  mask: number[][];
  results: { agg: Aggregation; new_fp64: number }[];
}

interface Vectors {
  policy_loss: PolicyCase[];
  value_loss: ValueCase[];
  agg_loss: AggregationCase[];
  kl: {
    logprob: number[];
    ref_logprob: number[];
    results: { kind: string; new_fp64: number[]; grad_new_fp64: number[] }[];
  };
}

const vectors = readJson<Vectors>(fixture("gae_ppo.json"));
const addon = loadAddon();

const lossOf = (terms: Omit<PpoLoss, "kind">) => checkLoss({ kind: "ppo", ...terms }, true);
const float = (rows: number[][]) => Float32Array.from(rows.flat());
const maskOf = (rows: number[][]) => Uint8Array.from(rows.flat());
const offsetsOf = (rows: number[][]) =>
  Uint32Array.from({ length: rows.length + 1 }, (_, i) => i * rows[0].length);

/** Relative to the size of what is compared: float32 inputs against float64 results. */
const near = (actual: number, expected: number) =>
  expectClose([actual], [expected], 2e-6 * Math.max(1, Math.abs(expected)));

describe.each(vectors.policy_loss)("policy loss, $name", (item) => {
  test.each(item.results)("clip $clip_low/$clip_high/$clip_c, $agg", (result) => {
    const actual = addon.policyLoss(
      {
        logProbs: float(item.log_prob),
        oldLogProbs: float(item.old_log_prob),
        advantages: float(item.advantages),
        mask: maskOf(item.mask),
        offsets: offsetsOf(item.mask),
      },
      lossOf({
        clipLow: result.clip_low,
        clipHigh: result.clip_high,
        dualClip: result.clip_c,
        aggregation: result.agg,
      }),
    );
    const expected = result.new_fp64;
    near(actual.figures.policy_loss, expected.pg_loss);
    near(actual.figures.clip_fraction, expected.pg_clipfrac);
    near(actual.figures.dual_clip_fraction, expected.pg_clipfrac_lower);
    near(actual.figures.approx_kl, expected.ppo_kl);
    if (result.grad_log_prob_new_fp64) {
      const gradient = result.grad_log_prob_new_fp64.flat();
      expectClose(actual.gradient, gradient, 3e-6 * Math.max(1, ...gradient.map(Math.abs)));
    }
  });
});

describe.each(vectors.value_loss.map((item, i) => ({ ...item, i })))("value loss, batch $i", (item) => {
  test.each(item.results)("clip $cliprange_value, $agg", (result) => {
    const actual = addon.valueLoss(
      {
        values: float(item.vpreds),
        oldValues: float(item.values),
        returns: float(item.returns),
        mask: maskOf(item.mask),
        offsets: offsetsOf(item.mask),
      },
      lossOf({ valueClip: result.cliprange_value, aggregation: result.agg }),
    );
    near(actual.figures.value_loss, result.fp64.vf_loss);
    near(actual.figures.value_clip_fraction, result.fp64.vf_clipfrac);
    if (result.grad_vpreds_fp64) expectClose(actual.gradient, result.grad_vpreds_fp64.flat(), 1e-6);
  });

  test("no clip is a clip so wide that nothing reaches it", () => {
    const batch = {
      values: float(item.vpreds),
      oldValues: float(item.values),
      returns: float(item.returns),
      mask: maskOf(item.mask),
      offsets: offsetsOf(item.mask),
    };
    const wide = addon.valueLoss(batch, lossOf({ valueClip: 1e9 }));
    expect(addon.valueLoss(batch, lossOf({ valueClip: null }))).toEqual(wide);
  });
});

describe.each(vectors.agg_loss)("aggregation, $name", (item) => {
  test.each(item.results)("$agg", ({ agg, new_fp64 }) => {
    near(addon.aggregate(float(item.loss_mat), maskOf(item.mask), offsetsOf(item.mask), agg), new_fp64);
  });
});

/** verl's names of the estimators. */
const estimators: Record<string, KlEstimator> = {
  kl: "k1",
  k1: "k1",
  abs: "abs",
  mse: "k2",
  k2: "k2",
  low_var_kl: "k3",
  k3: "k3",
};

test.each(vectors.kl.results)("KL penalty $kind", ({ kind, new_fp64, grad_new_fp64 }) => {
  const logProbs = Float32Array.from(vectors.kl.logprob);
  const { kl, gradient } = addon.klPenalty(
    logProbs,
    Float32Array.from(vectors.kl.ref_logprob),
    estimators[kind],
  );
  for (const [i, value] of new_fp64.entries()) near(kl[i], value);
  for (const [i, value] of grad_new_fp64.entries()) near(gradient[i], value);
});
