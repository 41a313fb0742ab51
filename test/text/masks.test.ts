import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SpaError } from "../../lib/errors.ts";
import { lossMask, type MaskKind, maskKinds } from "../../lib/text/masks.ts";
import { isAssistantRole, Role, roleColors, roleNames } from "../../lib/text/roles.ts";

const allRoles = Uint8Array.from(roleNames, (name) => Role[name]);
const selected = (kind: MaskKind): string[] => {
  const mask = lossMask(kind, allRoles, null);
  return roleNames.filter((_, i) => mask[i] === 1);
};

describe("roles", () => {
  it("number from 0 on without gaps, each with a name and a colour", () => {
    expect(roleNames).toEqual([
      ...["prompt", "template", "environment", "tag", "observation", "reasoning"],
      ...["prediction", "answer", "answerEnd", "end", "other"],
    ]);
    expect([...allRoles]).toEqual(roleNames.map((_, i) => i));
    expect(Object.keys(roleColors).sort()).toEqual([...roleNames].sort());
    expect(roleNames.filter((name) => !isAssistantRole(Role[name]))).toEqual([
      "prompt",
      "template",
      "environment",
    ]);
  });
});

describe("lossMask", () => {
  it("selects the documented roles", () => {
    const turn = ["tag", "observation", "reasoning", "prediction", "answer", "answerEnd", "end", "other"];
    expect(selected("full")).toEqual(turn);
    expect(selected("response")).toEqual(turn);
    expect(selected("answer")).toEqual(["answer", "answerEnd", "end"]);
    expect(selected("no-state")).toEqual(
      turn.filter((name) => name !== "observation" && name !== "prediction"),
    );
    expect(selected("state-only")).toEqual(["observation", "prediction"]);
    expect(selected("prediction-only")).toEqual(["prediction"]);
    expect(selected("think")).toEqual(["tag", "observation", "reasoning", "prediction"]);
  });

  it("never selects what was not sampled, nor text that is not the assistant's", () => {
    const token = fc.record({ role: fc.constantFrom(...allRoles), sampled: fc.constantFrom(0, 1) });
    fc.assert(
      fc.property(fc.array(token), fc.constantFrom(...maskKinds), (tokens, kind) => {
        const roles = Uint8Array.from(tokens, (t) => t.role);
        const sampled = Uint8Array.from(tokens, (t) => t.sampled);
        const written = lossMask(kind, roles, null);
        const mask = lossMask(kind, roles, sampled);
        const full = lossMask("full", roles, null);
        for (let i = 0; i < tokens.length; i++) {
          expect(mask[i]).toBe(written[i] & sampled[i]);
          expect(written[i] & ~full[i]).toBe(0);
          expect(full[i]).toBe(isAssistantRole(roles[i]) ? 1 : 0);
        }
        const states = lossMask("state-only", roles, null);
        const rest = lossMask("no-state", roles, null);
        expect(states.map((bit, i) => bit + rest[i])).toEqual(full);
      }),
    );
  });

  it("refuses lengths that differ, unknown kinds and numbers that are no role", () => {
    const refuses = (action: () => unknown, message: RegExp): void => {
      expect(action).toThrow(SpaError);
      expect(action).toThrow(message);
    };
    refuses(() => lossMask("full", new Uint8Array(3), new Uint8Array(2)), /3 roles but 2/);
    refuses(() => lossMask("fulll" as MaskKind, allRoles, null), /unknown kind "fulll"/);
    refuses(() => lossMask("constructor" as MaskKind, allRoles, null), /unknown kind/);
    refuses(() => lossMask("full", Uint8Array.of(3, 99), null), /token 1 has role 99/);
  });
});
