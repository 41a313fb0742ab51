// The turns that training episodes may take, by step, computed by hand.
import { expect, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { ppoSchema } from "../../lib/config/sections/ppo.ts";
import { turnLimit } from "../../lib/stages/ppo/turn-limit.ts";

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
