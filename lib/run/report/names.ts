// Words for the ids of arms, stages and policies.

const policies: Readonly<Record<string, [title: string, about: string]>> = {
  random: ["Random policy", "uniform random actions"],
  base: ["Base", "the model that both arms start from, plain prompt"],
  baseWorldModel: ["Base, world-model prompt", "the same model, asked to write states"],
  sft: ["After SFT", "world model fine-tuned on self-play, before PPO"],
  control: ["Control", "PPO from the base, plain prompt"],
  formatOnly: ["Format only", "PPO from the base in world-model format, without SFT"],
  spa: ["SPA", "self-play, world-model SFT, then PPO"],
};

/** Policies in the order in which a reader compares them. */
const order = Object.keys(policies);

/** A policy of results.json in words. */
export function policyTitle(policy: string): string {
  return policies[policy]?.[0] ?? policy;
}

export function policyAbout(policy: string): string {
  return policies[policy]?.[1] ?? "";
}

/** Sorts names of policies; unknown ones keep their order at the end. */
export function comparePolicies(left: string, right: string): number {
  const rank = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return rank(left) - rank(right);
}

const arms: Readonly<Record<string, string>> = {
  base: "Base",
  spa: "SPA",
  control: "Control",
  "format-only": "Format only",
};

/** The arm that a stage belongs to, in words: `spa/ppo` -> `SPA`; `base` as it is. */
export function armTitle(stage: string): string {
  const [arm] = stage.split("/");
  return arms[arm] ?? arm;
}

/** Number of the colour in which an arm is drawn everywhere (`--arm-0` and so on in the style sheet). */
export function armColor(name: string): number {
  const known = ["spa", "control", "format-only", "base"];
  const arm = name.split("/")[0].replace("formatOnly", "format-only");
  const index = known.indexOf(arm);
  return index >= 0 ? index : known.length;
}
