import type { Arm, Experiment } from "../experiment.ts";
import { spa, vanilla } from "./arms.ts";

/** Nano models, of which the middle one is the presets'. */
const nanoSizes: Sizes = {
  small: ["model.hidden=48", "model.layers=3", "model.intermediate=128"],
  middle: ["model.hidden=64", "model.layers=4", "model.intermediate=176"],
  large: ["model.hidden=96", "model.layers=5", "model.intermediate=256"],
  llama: ["model.architecture=llama"],
};

/** Three models of one family, and the smallest of another. */
const llmSizes: Sizes = {
  small: ["model.path=Qwen/Qwen2.5-0.5B-Instruct"],
  middle: ["model.path=Qwen/Qwen2.5-1.5B-Instruct"],
  large: ["model.path=Qwen/Qwen2.5-3B-Instruct"],
  llama: ["model.path=meta-llama/Llama-3.2-1B-Instruct"],
};

const names = ["small", "middle", "large", "llama"] as const;

type Sizes = Readonly<Record<(typeof names)[number], readonly string[]>>;

export const scale: Experiment = {
  name: "scale",
  claim: "The gain holds over sizes and families of models.",
  source: "SPA, arXiv 2510.15047, its tables over models",
  about: "Each size has a base of its own, and plays with the same settings.",
  preset: "nano-frozen-lake",
  seeds: 3,
  arms: ({ model }) =>
    names.flatMap((name) => {
      const base = (model.kind === "nano" ? nanoSizes : llmSizes)[name];
      return [vanilla, spa].map(
        (arm): Arm => ({
          ...arm,
          name: `${arm.name}-${name}`,
          about: `${arm.about} (${base.join(" ")})`,
          base,
        }),
      );
    }),
  comparisons: names.map((name) => [`spa-${name}`, `vanilla-rl-${name}`] as const),
};
