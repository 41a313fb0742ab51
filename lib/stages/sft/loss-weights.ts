import type { Config } from "../../config/schema.ts";
import { lossMask, type MaskKind } from "../../text/masks.ts";
import { type RoleName, roleNames } from "../../text/roles.ts";
import type { SftExample } from "./examples.ts";

export type SftWeights = Config["sft"]["weights"];

type RoleWeight = Exclude<keyof SftWeights, "changed">;

/**
 * Which weight the tokens of a role have. As in lib/text/masks.ts tags go with the think block, the answer's closing tag and
 * the end token with the answer. Text outside all tags counts 1.
 */
const weightOfRole: Partial<Record<RoleName, RoleWeight>> = {
  tag: "think",
  reasoning: "think",
  observation: "observation",
  prediction: "prediction",
  answer: "answer",
  answerEnd: "answer",
  end: "answer",
};

/** What a turn that changes the state says of it: the think block says the same whether it changes or not. */
const saysChange = (name: RoleWeight | undefined) => name !== undefined && name !== "think";

/** What carries a supervised loss, [tokens]. */
interface SupervisedTokens {
  /** 1 where the weight is above 0. */
  mask: Uint8Array;
  /** Absent where all count 1. */
  weights?: Float32Array;
}

/** The tokens of an example, or of examples laid end to end, that carry loss, and how much each counts. */
export function supervisedTokens(
  kind: MaskKind,
  { roles, trainable, changed }: Pick<SftExample, "roles" | "trainable" | "changed">,
  settings: SftWeights,
): SupervisedTokens {
  const selected = lossMask(kind, roles, trainable);
  if (Object.values(settings).every((weight) => weight === 1)) return { mask: selected };
  const weights = Float32Array.from(roles, (role, token) => {
    const name = weightOfRole[roleNames[role]];
    const own = name === undefined ? 1 : settings[name];
    return changed[token] === 1 && saysChange(name) ? own * settings.changed : own;
  });
  return { mask: selected.map((entry, token) => (weights[token] === 0 ? 0 : entry)), weights };
}
