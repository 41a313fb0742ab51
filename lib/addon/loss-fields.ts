import type { Interval } from "./arguments.ts";

const aggregations = ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum"] as const;
const estimators = ["k1", "abs", "k2", "k3"] as const;

export const lossKinds = ["sft", "ppo", "value"] as const;
export type LossKind = (typeof lossKinds)[number];
export type Aggregation = (typeof aggregations)[number];
export type KlEstimator = (typeof estimators)[number];

/** Arrays of a batch that only some terms of the loss need. */
export type TermArray = "referenceLogProbs" | "supervisedMask" | "environmentMask";

/** A field of the loss: of {@link LossTerms}, of a run's setting `ppo.loss`, and of spa::LossOptions. */
export interface LossField {
  /** What it is, as docs/configuration.md says. */
  about: string;
  /** What a number may be. */
  range?: Interval;
  /** What a text may be. */
  choices?: readonly string[];
  /** It may be null, which switches it off. */
  nullable?: true;
  /** What `trainer.step` takes where it is absent. */
  default: number | string;
  /** The loss beside `"ppo"` that has the field. */
  also?: LossKind;
  /** What the batch must hold unless the field is 0. */
  needs?: TermArray;
  /** Where `ppo.loss` differs; null: a run has it elsewhere. */
  run?: { default?: number; range?: Interval } | null;
}

/** Every field of the loss, declared once. native/engine/loss_options.h has the struct that they fill. */
export const lossFields = {
  clipLow: {
    about:
      "the probability ratio is clipped below at 1 minus this; null: nowhere, whatever clipHigh and dualClip are (plain policy gradient)",
    range: { atLeast: 0, below: 1 },
    nullable: true,
    default: 0.2,
    run: { range: { above: 0, below: 1 } },
  },
  clipHigh: {
    about: "and above at 1 plus this",
    range: { atLeast: 0 },
    default: 0.28,
    run: { range: { above: 0 } },
  },
  dualClip: {
    about: "lower bound of the ratio's effect for negative advantages",
    range: { above: 1 },
    nullable: true,
    default: 3,
  },
  valueClip: {
    about: "most that a value may move from its old one in the value loss; null: any",
    range: { above: 0 },
    nullable: true,
    default: 0.5,
    also: "value",
  },
  valueCoefficient: {
    about: "weight of the value loss, which is half the squared error",
    range: { atLeast: 0 },
    default: 0.5,
    also: "value",
    run: { range: { above: 0 } },
  },
  entropyCoefficient: {
    about: "weight of the entropy bonus",
    range: {},
    default: 0,
    run: { default: 0.001, range: { atLeast: 0 } },
  },
  klCoefficient: {
    about: "weight of the KL penalty to the model at PPO's start",
    range: { atLeast: 0 },
    default: 0,
    needs: "referenceLogProbs",
  },
  klEstimator: {
    about: "how the KL penalty is estimated from sampled tokens (Schulman 2020)",
    choices: estimators,
    default: "k3",
  },
  aggregation: {
    about: "how token losses become one: mean over all tokens, or over sequences of each one's mean or sum",
    choices: aggregations,
    default: "token-mean",
    also: "sft",
  },
  supervisedCoefficient: {
    about: "weight of a cross-entropy on the true states of the same rollouts (not in the paper)",
    range: { atLeast: 0 },
    default: 0,
    needs: "supervisedMask",
  },
  environmentCoefficient: {
    about:
      "weight of a cross-entropy on the environment's answers, the states that prompts show after the first (ECHO; not in the paper)",
    range: { atLeast: 0 },
    default: 0,
    needs: "environmentMask",
  },
  temperature: {
    about: "sampling temperature",
    range: { above: 0 },
    default: 1,
    run: null,
  },
} as const satisfies Record<string, LossField>;

type Fields = typeof lossFields;
export type LossFieldName = keyof Fields;

type LossValue<Field> = Field extends { choices: readonly (infer Choice)[] }
  ? Choice
  : Field extends { nullable: true }
    ? number | null
    : number;

/** Every field of the loss with its value. */
export type LossTerms = { [Name in LossFieldName]: LossValue<Fields[Name]> };

/** The fields that the loss `Kind` has beside those of `"ppo"`. */
export type FieldsOf<Kind extends LossKind> = {
  [Name in LossFieldName]: Fields[Name] extends { also: Kind } ? Name : never;
}[LossFieldName];

/** A run's setting `ppo.loss`. */
export type RunLossField = {
  [Name in LossFieldName]: Fields[Name] extends { run: null } ? never : Name;
}[LossFieldName];

/** The fields of the loss, with names; the table's own types are too narrow to be asked alike. */
export const lossFieldEntries = Object.entries(lossFields) as [LossFieldName, LossField][];

/** The first field by which `loss` needs an array of the batch; undefined where it needs none. */
export function fieldNeeding(loss: Partial<LossTerms>, array: TermArray): LossFieldName | undefined {
  const found = lossFieldEntries.find(([name, { needs }]) => needs === array && (loss[name] ?? 0) !== 0);
  return found?.[0];
}
