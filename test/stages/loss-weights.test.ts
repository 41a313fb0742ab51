import { describe, expect, it } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { type SftWeights, supervisedTokens } from "../../lib/stages/sft/loss-weights.ts";
import { carriesLoss } from "../../lib/stages/sft/trainable.ts";
import { lossMask } from "../../lib/text/masks.ts";
import { Role } from "../../lib/text/roles.ts";

const weights = (changes: Partial<SftWeights>): SftWeights =>
  configSchema.parse({ sft: { weights: changes } }).sft.weights;

/** A prompt, a turn that changes nothing, the environment, and one that changes the state. */
const reply = [
  Role.tag,
  Role.observation,
  Role.reasoning,
  Role.prediction,
  Role.answer,
  Role.answerEnd,
  Role.end,
  Role.other,
];
const roles = Uint8Array.from([Role.prompt, ...reply, Role.environment, ...reply]);
const example = {
  trajectory: 0,
  split: "train" as const,
  tokens: new Int32Array(roles.length),
  roles,
  trainable: roles.map((role) => (role >= Role.tag ? 1 : 0)),
  changed: roles.map((_, at) => (at > 9 ? 1 : 0)),
  segments: [0],
};

describe("supervisedTokens", () => {
  it("is the mask alone where all weights are 1", () => {
    expect(supervisedTokens("full", example, weights({}))).toEqual({
      mask: lossMask("full", roles, example.trainable),
    });
  });

  it("gives each part of a reply its weight, tags to the think block and the ends to the answer", () => {
    const settings = weights({ think: 2, observation: 3, prediction: 5, answer: 7, changed: 10 });
    const { mask, weights: given } = supervisedTokens("full", example, settings);
    expect(mask).toEqual(lossMask("full", roles, example.trainable));
    expect([...given!]).toEqual([1, 2, 3, 2, 5, 7, 7, 7, 1, 1, 2, 30, 2, 50, 70, 70, 70, 1]);
  });

  it("divides the reply as the masks do", () => {
    const selected = (settings: Partial<SftWeights>) =>
      supervisedTokens("full", example, weights(settings)).mask;
    const without = (mask: Uint8Array, role: number) =>
      mask.map((entry, at) => (roles[at] === role ? 0 : entry));
    expect(without(selected({ answer: 0 }), Role.other)).toEqual(lossMask("think", roles, example.trainable));
    expect(without(selected({ think: 0, observation: 0, prediction: 0 }), Role.other)).toEqual(
      lossMask("answer", roles, example.trainable),
    );
    expect(selected({ observation: 0, prediction: 0 })).toEqual(
      lossMask("no-state", roles, example.trainable),
    );
  });

  it("drops what has no weight", () => {
    expect(supervisedTokens("answer", example, weights({ changed: 0 })).mask.slice(9)).toEqual(
      new Uint8Array(9),
    );
    expect(carriesLoss(example, { mask: "answer", weights: weights({ answer: 0 }) })).toBe(false);
    expect(carriesLoss(example, { mask: "answer", weights: weights({ changed: 0 }) })).toBe(true);
    const unchanged = { ...example, changed: new Uint8Array(roles.length) };
    expect(supervisedTokens("full", unchanged, weights({ changed: 4 })).weights).toEqual(
      new Float32Array(roles.length).fill(1),
    );
  });
});

it.each([
  ["answer", { answer: 0 }],
  ["state-only", { observation: 0, prediction: 0 }],
  ["no-state", { think: 0, answer: 0 }],
  ["full", { think: 0, observation: 0, prediction: 0, answer: 0 }],
])("weights under which sft.mask=%s selects nothing are refused", (mask, weights) => {
  const { error } = configSchema.safeParse({ sft: { mask, weights } });
  expect(error?.issues.map(({ path }) => path.join("."))).toEqual(["sft.weights"]);
});
