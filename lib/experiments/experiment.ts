import type { Config } from "../config/schema.ts";

/** A claim, and the runs that show whether it holds. One file of `definitions/` each. */
export interface Experiment {
  name: string;
  /** What is claimed, in one sentence. */
  claim: string;
  /** Who claims it: paper and section. */
  source: string;
  /** What is compared, and what to keep in mind when reading it. */
  about: string;
  /** The preset that it is run with unless another is named. */
  preset: string;
  /** The only environment that it is about; any by default. */
  environment?: string;
  /** Seeds unless another number is asked for. */
  seeds: number;
  /** Settings of all its runs, under those of the arms. */
  settings?(config: Config): readonly string[];
  /** The arms, in the order of the tables. A later one may start from what an earlier one has trained. */
  arms(config: Config): readonly Arm[];
  /** Pairs of arms: what the first has above the second. By default every arm against the last. */
  comparisons?: readonly (readonly [arm: string, against: string])[];
  /** The k of Pass@k in tables; by default 1 and that of the evaluation's samples. */
  passAt?: readonly number[];
  /** Metrics of PPO's steps that are drawn over them, beside {@link defaultCurves}. */
  curves?: readonly Curve[];
}

/** One arm: ordinary runs, of which settings and where they start are all that is its own. */
export interface Arm {
  /** In a file name, a table and `--arms`. */
  name: string;
  /** In a sentence's middle. */
  about: string;
  /**
   * What it trains: PPO in one of the formats, from the base or from `from`; or all of SPA, which is two runs, so that arms which
   * differ in PPO alone share the world model. Null: nothing, its base is evaluated as it is.
   */
  trains: "spa" | "control" | "format-only" | null;
  /** The arm whose model it starts from, and the stage that it takes of it; the base by default. */
  from?: { arm: string; stage: string };
  /** Settings of all its runs, its base among them; arms that have these in common share the base. */
  base?: readonly string[];
  /** Settings of self-play and SFT, and of all that follows. */
  settings?: readonly string[];
  /** Settings of self-play and SFT alone. */
  worldModel?: readonly string[];
  /** Settings of PPO and evaluation alone. */
  ppo?: readonly string[];
}

/** A metric of metrics.jsonl over steps. */
export interface Curve {
  metric: string;
  title: string;
  /** It is a share, drawn from 0 to 1. */
  share: boolean;
}

/** What every experiment with PPO draws. */
export const defaultCurves: readonly Curve[] = [
  { metric: "success_rate", title: "Success in training, by step", share: true },
  { metric: "validation_pass_at_1", title: "Pass@1 on tuning levels, by step", share: true },
  { metric: "entropy", title: "Entropy per token, by step", share: false },
];
