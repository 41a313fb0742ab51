/**
 * What a token is, in a trajectory. Every loss mask, every statistic over spans and every viewer colour is a function
 * of these numbers (and, for masks, of whether the token was sampled). They are stored in trajectory files: append
 * only, never renumber.
 */
export const Role = {
  /** System message and first user message: task, first state. */
  prompt: 0,
  /** Chat delimiters around messages, the model's end token apart. */
  template: 1,
  /** Later user messages: reward, next state. */
  environment: 2,
  /** Tags of an assistant turn, `</answer>` apart, and white space between tags. */
  tag: 3,
  /** Text inside `<observation>`: the state as the agent sees it. */
  observation: 4,
  /** Text inside `<think>` that is neither observation nor prediction. */
  reasoning: 5,
  /** Text inside `<prediction>`: the state that the agent expects after its actions. */
  prediction: 6,
  /** Text inside `<answer>`: the actions. */
  answer: 7,
  /** `</answer>`, a role of its own because the answer mask holds it and no other tag. */
  answerEnd: 8,
  /** The end token of an assistant turn that the model sampled, or that stands in written text. */
  end: 9,
  /** Text of an assistant turn outside all tags: a malformed reply. */
  other: 10,
} as const;

/** One of the numbers in {@link Role}; fits a Uint8. */
export type Role = (typeof Role)[keyof typeof Role];

/** Name of a role, e.g. `"observation"`. */
export type RoleName = keyof typeof Role;

/** Role names by number: `roleNames[Role.tag] === "tag"`. */
export const roleNames: readonly RoleName[] = (Object.keys(Role) as RoleName[]).sort(
  (a, b) => Role[a] - Role[b],
);

/** How a viewer paints a role: CSS colours of text on a light ground, and the nearest of the 256 terminal colours. */
export const roleColors: Readonly<Record<RoleName, { css: string; terminal: number }>> = {
  prompt: { css: "#57606a", terminal: 245 },
  template: { css: "#afb8c1", terminal: 240 },
  environment: { css: "#6e7781", terminal: 250 },
  tag: { css: "#8250df", terminal: 141 },
  observation: { css: "#0969da", terminal: 75 },
  reasoning: { css: "#1f2328", terminal: 231 },
  prediction: { css: "#1a7f37", terminal: 78 },
  answer: { css: "#bc4c00", terminal: 215 },
  answerEnd: { css: "#8250df", terminal: 141 },
  end: { css: "#bf3989", terminal: 205 },
  other: { css: "#cf222e", terminal: 203 },
};

/** Whether a token with this role belongs to an assistant's turn. */
export function isAssistantRole(role: number): boolean {
  return role >= Role.tag;
}
