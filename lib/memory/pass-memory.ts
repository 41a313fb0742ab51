import type { Device, Dtype, Moments, NativePassMemory, NativeWorkload } from "../addon/addon.ts";
import { loadAddon } from "../addon/loader.ts";
import { type AdapterSettings, nativeAdapter } from "../formats/adapter-config.ts";
import { type ModelConfig, nativeModelConfig } from "../formats/model-config.ts";

/** How a model is run; what decides its memory beside its shape. */
export interface MemorySettings {
  device: Device;
  /** CPU threads. */
  threads: number;
  dtype: Dtype;
  microBatchTokens: number;
  rolloutSlots: number;
  activationCheckpointing: boolean;
  moments: Moments;
  lora: Pick<AdapterSettings, "rank" | "targets" | "dropout"> | null;
}

/** What the passes of some work take, each kind at its largest: by the engine's own formulas (native/engine/pass_memory.h). */
export function passMemory(
  shape: ModelConfig,
  settings: MemorySettings,
  work: NativeWorkload,
): NativePassMemory[] {
  const { device, threads, dtype, microBatchTokens, activationCheckpointing, moments, lora } = settings;
  // An adapter's scale takes no memory.
  const adapter = lora === null ? null : nativeAdapter({ ...lora, alpha: 1, rankStabilized: false });
  const passSettings = {
    device,
    threads,
    dtype,
    microBatchTokens,
    activationCheckpointing,
    moments,
    adapter,
  };
  return loadAddon().passMemory(nativeModelConfig(shape), passSettings, work);
}
