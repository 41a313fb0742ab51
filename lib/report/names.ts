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
  "world-model": "World model",
};

const kinds: Readonly<Record<string, string>> = { "self-play": "self-play", sft: "SFT", ppo: "PPO" };

/** The arm that a stage belongs to, in words: `spa/ppo` -> `SPA`; `base` as it is. */
export function armTitle(stage: string): string {
  const [arm] = stage.split("/");
  return arms[arm] ?? arm;
}

/** A stage in words: `Base`, `SPA: PPO`, `SPA: SFT, round 2`, `Evaluation: Control`. */
export function stageTitle(stage: string): string {
  const [arm, step] = stage.split("/");
  if (step === undefined) return armTitle(stage);
  if (arm === "evaluate") {
    const policy = step.replace(/-tuning$/, "");
    return `Evaluation${policy === step ? "" : " on tuning levels"}: ${policyTitle(policy)}`;
  }
  const [, kind, round] = /^(.*?)(?:-(\d+))?$/.exec(step) ?? [];
  return `${armTitle(stage)}: ${kinds[kind] ?? kind}${round === undefined ? "" : `, round ${round}`}`;
}

/** Arms that have a colour of their own wherever they are drawn. */
const colored = ["spa", "control", "format-only", "base"];

/** Colours in the style sheet: `--arm-0` and so on. */
const colorCount = 7;

/** Number of the colour of an arm, given its name, a stage of it, or its policy. */
export function armColor(name: string): number {
  const index = colored.indexOf(name.split("/")[0].replace("formatOnly", "format-only"));
  return index >= 0 ? index : colored.length;
}

/** A colour for each of the stages (or policies): the arm's, and for an arm's further stages one that is free. */
export function stageColors(stages: readonly string[]): Map<string, number> {
  const colors = new Map<string, number>();
  for (const stage of stages) {
    const taken = new Set(colors.values());
    const free = Array.from({ length: colorCount }, (_, index) => colorCount - 1 - index);
    const color = [armColor(stage), ...free].find((index) => !taken.has(index));
    colors.set(stage, color ?? armColor(stage));
  }
  return colors;
}
