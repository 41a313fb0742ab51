import { setTimeout as sleep } from "node:timers/promises";
import type { LoadedPolicy } from "../agent/load.ts";
import { isAdapterFolder } from "../formats/adapter-folder.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { RunFolder } from "../run/run-folder.ts";
import { chooseCheckpoint } from "../stages/choose-checkpoint.ts";
import { loadOn } from "./policies.ts";
import type { ServedModel } from "./served-model.ts";

export interface FollowOptions {
  /** The stage whose newest checkpoint is served; by default as `Agent.load` chooses. */
  stage?: string | undefined;
  /** Seconds between two looks. */
  every: number;
  /** Ends following. */
  signal: AbortSignal;
  /** Told what is served now, and why a checkpoint could not be taken. */
  onNote?: (text: string) => void;
}

/**
 * Lets a served model take over the weights of its run's checkpoints as they come, until `signal` fires. Requests that are under
 * way end with the weights that they began with.
 */
export async function follow(
  served: ServedModel,
  policy: LoadedPolicy & { run: RunFolder },
  { stage, every, signal, onNote }: FollowOptions,
): Promise<void> {
  while (await waits(every, signal)) {
    try {
      const checkpoint = chooseCheckpoint(RunFolder.open(policy.run.path), stage);
      if (checkpoint.name === served.fingerprint) continue;
      await takeOver(served, policy, checkpoint);
      onNote?.(`${served.name} is ${checkpoint.name} now`);
    } catch (error) {
      // A run clears away old checkpoints while it works: there is a newer one then.
      if (!signal.aborted) onNote?.(`the newest checkpoint cannot be taken: ${(error as Error).message}`);
    }
  }
}

async function takeOver(
  served: ServedModel,
  { engine, config }: LoadedPolicy,
  { folder, name }: Checkpoint,
): Promise<void> {
  const { sampler } = served;
  const { model } = sampler;
  await using fresh = isAdapterFolder(folder)
    ? await loadOn(model, folder)
    : await engine.loadModel(folder, { dtype: config.engine.dtype });
  await sampler.between(async () => {
    await model.copyFrom(fresh);
    served.fingerprint = name;
  });
}

/** Waits for a while. @returns false where the signal has fired meanwhile */
async function waits(seconds: number, signal: AbortSignal): Promise<boolean> {
  return await sleep(1000 * seconds, true, { signal, ref: false }).catch(() => false);
}
