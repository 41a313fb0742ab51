import type { PpoBatch } from "../../engine/train-batch.ts";
import type { Trajectory } from "../../rollout/trajectory.ts";
import type { TurnProtocol } from "../../rollout/turn-protocol.ts";
import { joined } from "../../typed-arrays.ts";
import { rewriteTrajectory, type SftExample } from "../sft/examples.ts";
import { type SftWeights, supervisedTokens } from "../sft/loss-weights.ts";
import type { Minibatch } from "./batch.ts";

/**
 * The same rollouts with the true states written in, one for each trajectory (undefined where no turn is valid): a
 * cross-entropy on these states keeps the world model alive during PPO. Not part of the published method.
 */
export function supervisedRows(
  trajectories: readonly Trajectory[],
  protocol: TurnProtocol,
): (SftExample | undefined)[] | undefined {
  if (protocol.format !== "world-model") return undefined;
  return trajectories.map(
    (trajectory) => rewriteTrajectory(trajectory, "train", protocol, { states: "true" })?.example,
  );
}

/**
 * A batch with the supervised rows of its trajectories behind it; these carry no policy and no value loss. Their tokens count as
 * those of SFT do.
 */
export function withSupervision(
  batch: Minibatch,
  rows: readonly (SftExample | undefined)[],
  indices: Uint32Array,
  settings: SftWeights,
): PpoBatch {
  const examples = Array.from(indices, (index) => rows[index]).filter((example) => example !== undefined);
  const offsets = Array.from(batch.offsets);
  for (const { tokens, segments } of examples) {
    const begin = offsets[offsets.length - 1];
    for (const segment of segments.slice(1)) offsets.push(begin + segment);
    offsets.push(begin + tokens.length);
  }
  const tokens = joined(Int32Array, [batch.tokens, ...examples.map((example) => example.tokens)]);
  const supervised = examples.map((example) => supervisedTokens("state-only", example, settings));
  const weights = supervised.flatMap((example) => example.weights ?? []);
  const float = (array: Float32Array) => extended(new Float32Array(tokens.length), array);
  const mask = (array: Uint8Array) => extended(new Uint8Array(tokens.length), array);
  return {
    tokens,
    offsets: Uint32Array.from(offsets),
    mask: mask(batch.mask),
    oldLogProbs: float(batch.oldLogProbs),
    advantages: float(batch.advantages),
    ...(batch.referenceLogProbs && { referenceLogProbs: float(batch.referenceLogProbs) }),
    ...(batch.values && {
      values: {
        mask: mask(batch.values.mask),
        oldValues: float(batch.values.oldValues),
        returns: float(batch.values.returns),
      },
    }),
    ...(batch.environmentMask && { environmentMask: mask(batch.environmentMask) }),
    supervisedMask: joined(Uint8Array, [
      new Uint8Array(batch.tokens.length),
      ...supervised.map((example) => example.mask),
    ]),
    ...(weights.length > 0 && {
      supervisedWeights: joined(Float32Array, [new Float32Array(batch.tokens.length), ...weights]),
    }),
  };
}

/** `array` at the start of an array of zeros. */
function extended<T extends Float32Array | Uint8Array>(zeros: T, array: T): T {
  zeros.set(array);
  return zeros;
}
