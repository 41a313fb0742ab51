import type { PpoBatch } from "../../engine/train-batch.ts";
import type { Trajectory } from "../../rollout/trajectory.ts";
import type { TurnProtocol } from "../../rollout/turn-protocol.ts";
import { lossMask } from "../../text/masks.ts";
import { rewriteTrajectory, type SftExample } from "../sft/examples.ts";

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

/** A batch with the supervised rows of its trajectories behind it; these carry no policy and no value loss. */
export function withSupervision(
  batch: PpoBatch & { mask: Uint8Array },
  rows: readonly (SftExample | undefined)[],
  indices: Uint32Array,
): PpoBatch {
  const examples = Array.from(indices, (index) => rows[index]).filter((example) => example !== undefined);
  const offsets = Array.from(batch.offsets);
  for (const { tokens, segments } of examples) {
    const begin = offsets[offsets.length - 1];
    for (const segment of segments.slice(1)) offsets.push(begin + segment);
    offsets.push(begin + tokens.length);
  }
  const added = examples.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const zeros = new Float32Array(added);
  const float = (array: ArrayLike<number> | undefined) =>
    Float32Array.from([...Array.from(array ?? []), ...zeros]);
  const none = (mask: ArrayLike<number>) => Uint8Array.from([...Array.from(mask), ...zeros]);
  return {
    tokens: Int32Array.from(
      [batch.tokens, ...examples.map(({ tokens }) => tokens)].flatMap((part) => Array.from(part)),
    ),
    offsets: Uint32Array.from(offsets),
    mask: none(batch.mask),
    oldLogProbs: float(batch.oldLogProbs),
    advantages: float(batch.advantages),
    ...(batch.referenceLogProbs && { referenceLogProbs: float(batch.referenceLogProbs) }),
    ...(batch.values && {
      values: {
        mask: none(batch.values.mask),
        oldValues: float(batch.values.oldValues),
        returns: float(batch.values.returns),
      },
    }),
    supervisedMask: Uint8Array.from([
      ...new Uint8Array(batch.tokens.length),
      ...examples.flatMap(({ roles, trainable }) => Array.from(lossMask("state-only", roles, trainable))),
    ]),
  };
}
