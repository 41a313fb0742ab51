/** What a run can train from its base. */
export const armNames = ["spa", "control", "format-only", "world-model"] as const;

export type ArmName = (typeof armNames)[number];

/** What `arms: all` stands for: the others are parts of these. */
export const allArms: readonly ArmName[] = ["spa", "control", "format-only"];

/** Whether some arm plays with itself and learns from that. */
export function hasSft(arms: readonly ArmName[]): boolean {
  return arms.includes("spa") || arms.includes("world-model");
}

/** Whether some arm is trained by PPO. */
export function hasPpo(arms: readonly ArmName[]): boolean {
  return arms.some((arm) => arm !== "world-model");
}
