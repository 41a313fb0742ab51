import { joined } from "../typed-arrays.ts";
import type { Trajectory } from "./trajectory.ts";

/** Trajectories laid end to end. Arrays are [tokens]. */
export interface TrajectoryBatch {
  tokens: Int32Array;
  roles: Uint8Array;
  sampled: Uint8Array;
  logProbs: Float32Array;
  /** [segments + 1] rows of the forward pass: what attends to each other. */
  offsets: Uint32Array;
  /** [trajectories + 1] rows of the advantage estimation: what shares a return. */
  trajectoryOffsets: Uint32Array;
  /** [trajectories + 1] positions in `offsets` at which each trajectory's segments start. */
  segmentOffsets: Uint32Array;
}

/** What is packed of a trajectory; without log-probs they are 0. */
type Packed = Pick<Trajectory, "tokens" | "roles" | "sampled" | "segments"> &
  Partial<Pick<Trajectory, "logProbs">>;

/** Packs trajectories in their order. */
export function packTrajectories(trajectories: readonly Packed[]): TrajectoryBatch {
  const total = trajectories.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const batch = {
    tokens: new Int32Array(total),
    roles: new Uint8Array(total),
    sampled: new Uint8Array(total),
    logProbs: new Float32Array(total),
  };
  const offsets: number[] = [];
  const trajectoryOffsets = [0];
  const segmentOffsets = [0];
  let begin = 0;
  for (const trajectory of trajectories) {
    batch.tokens.set(trajectory.tokens, begin);
    batch.roles.set(trajectory.roles, begin);
    batch.sampled.set(trajectory.sampled, begin);
    if (trajectory.logProbs) batch.logProbs.set(trajectory.logProbs, begin);
    for (const segment of trajectory.segments) offsets.push(begin + segment);
    begin += trajectory.tokens.length;
    trajectoryOffsets.push(begin);
    segmentOffsets.push(offsets.length);
  }
  offsets.push(begin);
  return {
    ...batch,
    offsets: Uint32Array.from(offsets),
    trajectoryOffsets: Uint32Array.from(trajectoryOffsets),
    segmentOffsets: Uint32Array.from(segmentOffsets),
  };
}

/** Some trajectories of a batch: their forward rows, and a function that gathers any [tokens] array along with them. */
interface BatchSelection {
  tokens: Int32Array;
  offsets: Uint32Array;
  gather<T extends Int32Array | Float32Array | Uint8Array>(array: T): T;
}

/** The trajectories at `indices`, in that order. */
export function selectTrajectories(batch: TrajectoryBatch, indices: ArrayLike<number>): BatchSelection {
  const offsets = [0];
  for (let place = 0; place < indices.length; place++) {
    const trajectory = indices[place];
    for (let row = batch.segmentOffsets[trajectory]; row < batch.segmentOffsets[trajectory + 1]; row++) {
      offsets.push(offsets[offsets.length - 1] + batch.offsets[row + 1] - batch.offsets[row]);
    }
  }
  const gather = <T extends Int32Array | Float32Array | Uint8Array>(array: T): T =>
    joined(
      array.constructor as new (
        length: number,
      ) => T,
      Array.from(indices, (trajectory) => {
        const [begin, end] = batch.trajectoryOffsets.subarray(trajectory, trajectory + 2);
        return array.subarray(begin, end) as T;
      }),
    );
  return { tokens: gather(batch.tokens), offsets: Uint32Array.from(offsets), gather };
}
