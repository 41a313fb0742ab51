import { SpaError } from "../errors.ts";
import { Role, type RoleName, roleNames } from "./roles.ts";

const turnRoles: readonly RoleName[] = [
  "tag",
  "observation",
  "reasoning",
  "prediction",
  "answer",
  "answerEnd",
  "end",
  "other",
];

/** The roles that each kind of mask selects. */
const rolesOfKind = {
  /** The whole assistant turn: tags, text, end token. */
  full: turnRoles,
  /** The assistant turn as the policy's action; `full` under the name that PPO settings use. */
  response: turnRoles,
  /** Text inside the answer tags, the closing tag and the end token. */
  answer: ["answer", "answerEnd", "end"],
  /** `full` without the text of observation and prediction: the ablation that removes the world model's targets. */
  "no-state": turnRoles.filter((name) => name !== "observation" && name !== "prediction"),
  /** Only the text of observation and prediction: the world model's targets alone. */
  "state-only": ["observation", "prediction"],
  /** Only the text of the prediction. */
  "prediction-only": ["prediction"],
  /** `full` without the answer's text and closing tag and the end token: the think block alone. */
  think: ["tag", "observation", "reasoning", "prediction"],
} as const satisfies Record<string, readonly RoleName[]>;

/** A name of a loss mask; docs/protocol.md has the table. */
export type MaskKind = keyof typeof rolesOfKind;

/** Every kind, for configuration schemas. */
export const maskKinds = Object.keys(rolesOfKind) as MaskKind[];

const tables = new Map<string, Uint8Array>(
  Object.entries(rolesOfKind).map(([kind, names]) => {
    const table = new Uint8Array(roleNames.length);
    for (const name of names) {
      table[Role[name]] = 1;
    }
    return [kind, table];
  }),
);

/**
 * The one function that makes loss masks.
 *
 * @param kind which roles carry loss.
 * @param roles [tokens] a {@link Role} for each token.
 * @param sampled [tokens] 1 where the model sampled the token, 0 for template text, a forced `<think>` or an appended
 *   delimiter; the mask is then a subset of it (PPO). `null` for written text, in which nothing was sampled and every
 *   token of an assistant turn is a target (SFT, pre-training).
 * @returns [tokens] 1 where the loss on predicting this token counts.
 * @throws SpaError BAD_ARGUMENT for an unknown kind, lengths that differ, or a number that is no role.
 */
export function lossMask(kind: MaskKind, roles: Uint8Array, sampled: Uint8Array | null): Uint8Array {
  const table = tables.get(kind);
  if (table === undefined) {
    throw new SpaError("BAD_ARGUMENT", `lossMask: unknown kind "${kind}"`, {
      hint: `use one of ${maskKinds.join(", ")}`,
    });
  }
  if (sampled !== null && sampled.length !== roles.length) {
    throw new SpaError(
      "BAD_ARGUMENT",
      `lossMask: ${roles.length} roles but ${sampled.length} entries in sampled`,
      { hint: "pass arrays of the same trajectory" },
    );
  }
  const mask = new Uint8Array(roles.length);
  for (let i = 0; i < roles.length; i++) {
    const selected = table[roles[i]];
    if (selected === undefined) {
      throw new SpaError("BAD_ARGUMENT", `lossMask: token ${i} has role ${roles[i]}, which does not exist`);
    }
    mask[i] = sampled === null || sampled[i] !== 0 ? selected : 0;
  }
  return mask;
}
