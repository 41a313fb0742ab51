import type { Dtype } from "../lib/addon/addon.ts";
import type { Engine } from "../lib/engine/engine.ts";
import type { BenchContext, Measurement } from "./measurement.ts";

/**
 * FLOP per second of a 512 x 512 x 512 product: what shares of the GEMM rate refer to. Many short products, so that
 * the fastest of them was alone on its core even on a busy machine.
 */
export function largeGemmRate(engine: Engine, dtype: Dtype): Promise<number> {
  return engine.gemmRate({ rows: 512, inner: 512, columns: 512, dtype, repeats: 100 });
}

/** The large product, and those of the nano model's MLP on 1024 tokens: what its shapes allow at best. */
export async function benchGemm(context: BenchContext): Promise<Measurement[]> {
  const { engine, dtype, gemmRate, model } = context;
  const { hiddenSize, intermediateSize } = model.config;
  const measurements: Measurement[] = [
    {
      name: "GEMM 512 x 512 x 512",
      unit: "FLOP/s",
      value: gemmRate,
      flopsPerSecond: gemmRate,
      gemmShare: 1,
    },
  ];
  for (const [inner, columns] of [
    [hiddenSize, intermediateSize],
    [intermediateSize, hiddenSize],
  ]) {
    const value = await engine.gemmRate({ rows: 1024, inner, columns, dtype, repeats: 200 });
    const name = `GEMM 1024 x ${inner} x ${columns}`;
    measurements.push({ name, unit: "FLOP/s", value, flopsPerSecond: value, gemmShare: value / gemmRate });
  }
  return measurements;
}
