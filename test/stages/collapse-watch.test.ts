import { describe, expect, it } from "vitest";
import { standardDeviation } from "../../lib/rollout/reward-normalization.ts";
import { CollapseWatch } from "../../lib/stages/ppo/collapse-watch.ts";

const healthy = {
  entropy: 0.5,
  group_std: 0.3,
  format_rate: 0.95,
  cut_rate: 0.01,
  groups_equal: 0.4,
  repeated_replies: 0.2,
  first_actions: 2.5,
};

/** The warnings of each step. */
function watch(steps: Record<string, number | undefined>[]): string[][] {
  const collapse = new CollapseWatch();
  return steps.map((figures) => collapse.see({ ...healthy, ...figures }));
}

describe("CollapseWatch", () => {
  it("has nothing to say of healthy training", () => {
    expect(watch([{}, { entropy: 0.1 }, { format_rate: 0.7 }, {}]).flat()).toEqual([]);
  });

  for (const [name, figures] of Object.entries({
    entropy: { entropy: 0.01 },
    reward: { group_std: 0 },
    malformed: { format_rate: 0.2 },
    repeats: { cut_rate: 0.6 },
    filter: { groups_equal: 0.95 },
    copies: { repeated_replies: 0.95 },
    exploration: { first_actions: 1.05 },
  })) {
    it(`tells once that ${name} has collapsed for three steps`, () => {
      const warnings = watch([
        {},
        figures,
        figures,
        {},
        figures,
        figures,
        figures,
        figures,
        {},
        figures,
        figures,
        figures,
      ]);
      expect(warnings.map(({ length }) => length)).toEqual([0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    });
  }

  it("says what is seen, what it means and what to try", () => {
    const [warning] = watch([{}, { entropy: 0 }, { entropy: 0 }, { entropy: 0 }]).flat();
    expect(warning).toMatch(
      /^entropy has fallen .*: the policy says nearly the same .*\. To try: raise ppo\.loss/,
    );
  });

  it("knows a collapse from then on, also from figures as they are logged", () => {
    const collapse = new CollapseWatch();
    const seen = [{}, { cut_rate: 0.6 }, { cut_rate: 0.6 }, { cut_rate: 0.6 }, {}].map((figures) => {
      collapse.see({ stage: "spa/ppo", step: 1, ...healthy, ...figures });
      return collapse.collapsed;
    });
    expect(seen).toEqual([false, false, false, true, true]);
  });

  it("sees equal rewards that no binary number holds", () => {
    const group_std = standardDeviation([0.1, 0.1, 0.1]);
    expect(watch([{ group_std }, { group_std }, { group_std }]).flat()).toHaveLength(1);
  });

  it("does not blame training for how the model was at the start", () => {
    const bad = { format_rate: 0.1, cut_rate: 0.9 };
    expect(watch([bad, bad, bad, bad, bad]).flat()).toEqual([]);
  });

  it("passes over figures that are missing", () => {
    expect(
      watch([{}, { entropy: undefined }, { entropy: undefined }, { entropy: undefined }]).flat(),
    ).toEqual([]);
  });
});
