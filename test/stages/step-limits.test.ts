// What training episodes are bound by, step by step, computed by hand.
import { describe, expect, it, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { ppoSchema } from "../../lib/config/sections/ppo.ts";
import { distanceLimit, turnLimit } from "../../lib/stages/ppo/step-limits.ts";

const limitsOf = (interaction: Record<string, unknown>, steps: number) => {
  const ppo = ppoSchema.parse({ interaction, steps });
  return Array.from({ length: steps }, (_, index) => turnLimit(index + 1, ppo, 5));
};

test.each([
  ["nothing is asked for", {}, [5, 5, 5, 5]],
  ["they fall over all steps", { annealTo: 2 }, [5, 4, 3, 2]],
  ["they fall from above the protocol's", { maxTurns: 8, annealTo: 2, over: 3 }, [8, 5, 2, 2, 2]],
  ["halves are rounded up", { annealTo: 4, over: 3 }, [5, 5, 4, 4]],
  ["they are others from the start", { maxTurns: 7 }, [7, 7]],
  ["there is nothing between", { annealTo: 1, over: 1 }, [1, 1]],
])("where %s", (_, interaction, expected) => {
  expect(limitsOf(interaction, expected.length)).toEqual(expected);
});

test("they do not rise", () => {
  const pathsOf = (interaction: Record<string, unknown>) =>
    configSchema
      .safeParse({ protocol: { maxTurns: 5 }, ppo: { interaction } })
      .error?.issues.map(({ path }) => path.join("."));
  expect(pathsOf({ annealTo: 5 })).toBeUndefined();
  expect(pathsOf({ annealTo: 6 })).toEqual(["ppo.interaction.annealTo"]);
  expect(pathsOf({ maxTurns: 6, annealTo: 6 })).toBeUndefined();
});

describe("the distance of training levels", () => {
  const limitsOf = (curriculum: Record<string, unknown>, steps: number, maxDistance: number | null = 8) => {
    const ppo = ppoSchema.parse({ curriculum, steps });
    return Array.from({ length: steps }, (_, step) => distanceLimit(step + 1, ppo, maxDistance)?.maxDistance);
  };

  it("rises to the run's own", () => {
    expect(limitsOf({ fromDistance: 2 }, 4)).toEqual([2, 4, 6, 8]);
    expect(limitsOf({ fromDistance: 5, over: 3 }, 5)).toEqual([5, 7, 8, 8, 8]);
    expect(limitsOf({ fromDistance: 3, over: 1 }, 2)).toEqual([8, 8]);
  });

  it("is the run's own where nothing is asked for", () => {
    expect(limitsOf({}, 2)).toEqual([undefined, undefined]);
  });

  it("needs a distance to rise to", () => {
    const pathsOf = (maxDistance: number | null) =>
      configSchema
        .safeParse({ levels: { maxDistance }, ppo: { curriculum: { fromDistance: 4 } } })
        .error?.issues.map(({ path }) => path.join("."));
    expect(pathsOf(4)).toBeUndefined();
    expect(pathsOf(3)).toEqual(["ppo.curriculum.fromDistance"]);
    expect(pathsOf(null)).toEqual(["ppo.curriculum.fromDistance"]);
  });
});
