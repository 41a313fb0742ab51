import fc from "fast-check";
import { expect, test } from "vitest";
import { toOffsets } from "../../lib/addon/arguments.ts";

test("offsets are taken exactly when they cut the array into rows", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -1, max: 12 }), { maxLength: 6 }),
      fc.nat(12),
      (offsets, length) => {
        const good =
          offsets[0] === 0 &&
          offsets.at(-1) === length &&
          offsets.every((o, i) => i === 0 || o >= offsets[i - 1]);
        let taken = true;
        try {
          toOffsets(offsets, "offsets", length, "tokens");
        } catch {
          taken = false;
        }
        expect(taken).toBe(good);
      },
    ),
    { numRuns: 500 },
  );
});
