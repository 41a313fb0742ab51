import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { packTrajectories, selectTrajectories } from "../../lib/rollout/batch.ts";
import { TrajectoryTokens } from "../../lib/rollout/trajectory.ts";

/** Trajectories as lists of segments, each a list of token ids. */
const segmentLists = fc.array(
  fc.array(fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 12 }), {
    minLength: 1,
    maxLength: 4,
  }),
  { minLength: 1, maxLength: 8 },
);

function build(segments: number[][]) {
  const tokens = new TrajectoryTokens();
  for (const segment of segments) {
    tokens.beginSegment();
    tokens.append({ tokens: Int32Array.from(segment.slice(0, 1)), roles: Uint8Array.of(1) });
    const rest = Int32Array.from(segment.slice(1));
    const roles = new Uint8Array(rest.length).fill(7);
    tokens.append({ tokens: rest, roles, logProbs: Float32Array.from(rest, (id) => -id) });
  }
  return tokens.finish();
}

describe("packTrajectories", () => {
  it("lays tokens end to end and keeps both kinds of rows", () => {
    fc.assert(
      fc.property(segmentLists, (lists) => {
        const batch = packTrajectories(lists.map(build));
        expect([...batch.tokens]).toEqual(lists.flat(2));
        const rows = lists.flat();
        expect(batch.offsets).toHaveLength(rows.length + 1);
        for (const [row, segment] of rows.entries()) {
          expect([...batch.tokens.slice(batch.offsets[row], batch.offsets[row + 1])]).toEqual(segment);
          expect(batch.sampled[batch.offsets[row]]).toBe(0);
        }
        for (const [index, list] of lists.entries()) {
          const [begin, end] = batch.trajectoryOffsets.slice(index, index + 2);
          expect([...batch.tokens.slice(begin, end)]).toEqual(list.flat());
          expect(batch.offsets[batch.segmentOffsets[index]]).toBe(begin);
        }
      }),
    );
  });
});

describe("selectTrajectories", () => {
  it("gathers rows and arrays of any order of trajectories", () => {
    fc.assert(
      fc.property(segmentLists, fc.array(fc.nat(), { maxLength: 10 }), (lists, picks) => {
        const batch = packTrajectories(lists.map(build));
        const indices = Uint32Array.from(picks, (pick) => pick % lists.length);
        const chosen = packTrajectories(Array.from(indices, (index) => build(lists[index])));
        const selection = selectTrajectories(batch, indices);
        expect(selection.tokens).toEqual(chosen.tokens);
        expect(selection.offsets).toEqual(chosen.offsets);
        expect(selection.gather(batch.logProbs)).toEqual(chosen.logProbs);
        expect(selection.gather(batch.roles)).toEqual(chosen.roles);
      }),
    );
  });
});
