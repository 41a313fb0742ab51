import { z } from "zod";
import { crossChecks } from "./cross-checks.ts";

// The whole configuration of a run. Every field has a default and a description: docs/configuration.md is generated
// from this file, `--help` and error messages quote it, and the resolved configuration is written into the run folder.

const positive = () => z.int().positive();
const fraction = () => z.number().min(0).max(1);
const probability = fraction;
const decayRate = () => z.number().min(0).lt(1);

export const aggregations = ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum"] as const;
export const rewardNormalizations = ["none", "mean", "mean-std", "asymmetric-clip"] as const;
export const rewardGroupings = ["state", "batch", "tag"] as const;

const optimizer = (learningRate: number, betas: [number, number], weightDecay: number) =>
  z
    .strictObject({
      learningRate: z.number().positive().default(learningRate).describe("peak learning rate"),
      betas: z.tuple([decayRate(), decayRate()]).default(betas).describe("AdamW's moment decay rates"),
      weightDecay: z
        .number()
        .min(0)
        .default(weightDecay)
        .describe("decoupled weight decay on all parameters"),
      epsilon: z.number().positive().default(1e-8).describe("AdamW's denominator offset"),
    })
    .prefault({});

const schedule = (kind: "constant" | "linear" | "cosine", warmup: number, minimumRatio: number) =>
  z
    .strictObject({
      kind: z.enum(["constant", "linear", "cosine"]).default(kind).describe("decay after warm-up"),
      warmup: fraction().default(warmup).describe("share of the steps with linearly rising learning rate"),
      minimumRatio: fraction().default(minimumRatio).describe("final learning rate as a share of the peak"),
    })
    .prefault({});

const engine = z
  .strictObject({
    device: z.enum(["auto", "cpu", "cuda"]).default("auto").describe("auto takes a GPU when there is one"),
    threads: positive().nullable().default(null).describe("CPU threads; null: all cores"),
    dtype: z.enum(["float32", "bfloat16"]).default("float32").describe("dtype of the weights"),
    microBatchTokens: positive().default(8192).describe("most tokens in one forward and backward pass"),
    rolloutSlots: positive().default(256).describe("trajectories that are sampled at the same time"),
  })
  .prefault({});

const nanoModel = z.strictObject({
  kind: z.literal("nano").describe("the embedded model, pre-trained by the base stage"),
  hidden: positive().default(64).describe("width of the hidden states"),
  layers: positive().default(4).describe("number of decoder layers"),
  heads: positive().default(4).describe("attention heads"),
  keyValueHeads: positive()
    .default(2)
    .describe("heads of keys and values, shared by groups of attention heads"),
  headDimension: positive().default(16).describe("width of a head"),
  intermediate: positive().default(176).describe("inner width of the SwiGLU layers"),
  ropeTheta: z.number().positive().default(10_000).describe("base of the rotary positions' wavelengths"),
});
const pretrainedModel = z.strictObject({
  kind: z.literal("pretrained").describe("a folder of Hugging Face files; there is no base stage"),
  path: z.string().min(1).describe("the folder with config.json, *.safetensors and tokenizer.json"),
});

const environment = z
  .strictObject({
    name: z.string().default("frozen-lake").describe("a registered environment"),
    options: z.record(z.string(), z.unknown()).default({}).describe("the environment's own options"),
    module: z
      .string()
      .nullable()
      .default(null)
      .describe("JavaScript file that defines the environment (--env)"),
  })
  .prefault({});

const protocol = z
  .strictObject({
    style: z
      .enum(["nano", "full"])
      .default("nano")
      .describe("wording of the prompts: nano is short, full is for LLMs"),
    promptState: z.enum(["grid", "structured"]).default("grid").describe("how the prompt shows the state"),
    traceState: z
      .enum(["grid", "structured"])
      .default("structured")
      .describe("how observation and prediction are written"),
    context: z
      .enum(["episode", "turn"])
      .default("episode")
      .describe("one growing sequence, or a prompt of its own per turn"),
    maxTurns: positive().default(5).describe("turns in an episode"),
    maxActionsPerTurn: positive().default(5).describe("actions that one answer may hold"),
    maxActions: positive().default(10).describe("actions in an episode"),
    maxNewTokens: positive().default(110).describe("tokens that one turn may generate"),
    maxTokens: positive().default(1024).describe("context limit of a trajectory"),
    forceThink: z.boolean().default(false).describe("append <think> to the generation prompt"),
    formatPenalty: z
      .number()
      .min(0)
      .default(0.1)
      .describe("taken from the reward of a turn with an invalid answer"),
  })
  .prefault({});

const levels = z
  .strictObject({
    trainSeed: z.int().min(0).default(10_000).describe("first seed of the training levels"),
    testSeed: z.int().min(0).default(123).describe("first seed of the test levels, which are reported"),
    tuningSeed: z
      .int()
      .min(0)
      .default(5_000)
      .describe("first seed of the tuning levels, on which settings are chosen"),
    testLevels: positive().default(128).describe("number of test levels"),
    tuningLevels: positive().default(64).describe("number of tuning levels"),
    disjoint: z
      .boolean()
      .default(true)
      .describe("training skips levels whose grid is that of a test or tuning level"),
    maxDistance: positive()
      .nullable()
      .default(null)
      .describe("only levels with a solution of at most so many actions; null: any"),
  })
  .prefault({});

const base = z
  .strictObject({
    steps: positive().default(1200).describe("updates of supervised pre-training"),
    batchSize: positive().default(16).describe("trajectories in an update"),
    levels: positive().default(2000).describe("levels that the traces are played on"),
    turnDecay: fraction()
      .default(0.5)
      .describe("each turn count is this much as likely as the one before; 1: all alike"),
    actionCounts: z
      .array(z.number().min(0))
      .min(1)
      .default([0.3, 0.3, 0.2, 0.1, 0.1])
      .describe("weights of answers with 1, 2, … actions, in traces and for the random policy"),
    worldModelShare: probability().default(0.6).describe("share of traces in world-model format"),
    corruptionProbability: probability()
      .default(0.3)
      .describe("probability that a state has one to three wrong cells; also of each wrong coordinate"),
    tokenDropProbability: probability().default(0.04).describe("share of traces that lose one token"),
    optimizer: optimizer(3e-3, [0.9, 0.98], 0.01),
    schedule: schedule("cosine", 0.025, 0.1),
    gradientClip: z
      .number()
      .positive()
      .nullable()
      .default(1)
      .describe("largest global norm of the gradient; null: no clipping"),
  })
  .prefault({});

const selfPlay = z
  .strictObject({
    trajectories: positive().default(4096).describe("episodes that the model plays in world-model format"),
    groupSize: positive().default(1).describe("episodes on the same level"),
    temperature: z.number().positive().default(1).describe("sampling temperature"),
    rounds: positive()
      .default(1)
      .describe("self-play and SFT alternate this often; trajectories are split over the rounds"),
    policy: z
      .enum(["model", "random"])
      .default("model")
      .describe("random: actions are replaced by random ones (ablation)"),
  })
  .prefault({});

const sft = z
  .strictObject({
    data: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe("Parquet file in SPA's columns to train on in place of self-play (prompt, response)"),
    epochs: positive().default(8).describe("passes over the data of a round"),
    batchSize: positive().default(16).describe("trajectories in an update"),
    mask: z
      .enum(["full", "answer", "response", "no-state", "state-only"])
      .default("full")
      .describe("tokens that carry the loss"),
    states: z
      .enum(["true", "sampled", "random-coordinates"])
      .default("true")
      .describe("what stands in observation and prediction (others are ablations)"),
    validationShare: fraction().default(0.05).describe("share of trajectories kept for validation"),
    validationLevels: z
      .int()
      .min(0)
      .default(32)
      .describe("tuning levels played after each epoch to count right observations and predictions; 0: none"),
    optimizer: optimizer(2e-3, [0.9, 0.95], 0.01),
    schedule: schedule("cosine", 0.1, 0),
    gradientClip: z
      .number()
      .positive()
      .nullable()
      .default(1)
      .describe("largest global norm of the gradient; null: no clipping"),
  })
  .prefault({});

const rewards = z
  .strictObject({
    placement: z
      .enum(["trajectory", "turn"])
      .default("trajectory")
      .describe("reward on the last token, or each turn's at its end"),
    normalization: z
      .enum(rewardNormalizations)
      .default("none")
      .describe("of trajectory rewards within a grouping"),
    grouping: z
      .enum(rewardGroupings)
      .default("state")
      .describe("state: same level; tag: same environment; batch: all"),
    scale: z.number().positive().default(1).describe("factor on all rewards before advantages"),
  })
  .prefault({});

const filter = z
  .strictObject({
    kind: z
      .enum(["none", "ratio", "top-p"])
      .default("ratio")
      .describe("which groups are trained on, by standard deviation of reward"),
    value: fraction()
      .default(0.25)
      .describe("ratio: share of groups kept; top-p: share of the summed deviation kept"),
  })
  .prefault({});

const advantage = z
  .strictObject({
    estimator: z
      .enum(["gae", "bi-level"])
      .default("gae")
      .describe("generalised advantage estimation, flat or over turns"),
    gamma: fraction().default(1).describe("discount between tokens"),
    lambda: fraction()
      .default(1)
      .describe("weight of longer returns against the critic: 1 is Monte Carlo, 0 one step"),
    highLevelGamma: fraction().default(0.95).describe("discount between turns (bi-level)"),
    whiten: z.boolean().default(true).describe("centre and scale advantages over the batch's trained tokens"),
  })
  .prefault({});

const policyLoss = z
  .strictObject({
    clipLow: z
      .number()
      .positive()
      .default(0.2)
      .describe("the probability ratio is clipped below at 1 minus this"),
    clipHigh: z.number().positive().default(0.28).describe("and above at 1 plus this"),
    dualClip: z
      .number()
      .gt(1)
      .nullable()
      .default(3)
      .describe("lower bound of the ratio's effect for negative advantages"),
    valueClip: z
      .number()
      .positive()
      .nullable()
      .default(0.5)
      .describe("most that a value may move from its old one in the value loss; null: any"),
    valueCoefficient: z.number().positive().default(0.5).describe("weight of the value loss"),
    entropyCoefficient: z.number().min(0).default(0.001).describe("weight of the entropy bonus"),
    klCoefficient: z
      .number()
      .min(0)
      .default(0)
      .describe("weight of the KL penalty to the model at PPO's start"),
    klEstimator: z
      .enum(["k1", "abs", "k2", "k3"])
      .default("k3")
      .describe("how the KL penalty is estimated from sampled tokens (Schulman 2020)"),
    aggregation: z
      .enum(aggregations)
      .default("token-mean")
      .describe(
        "how token losses become one: mean over all tokens, or over sequences of each one's mean or sum",
      ),
    supervisedCoefficient: z
      .number()
      .min(0)
      .default(0)
      .describe("weight of a cross-entropy on the true states of the same rollouts (not in the paper)"),
  })
  .prefault({});

export const ppoSchema = z
  .strictObject({
    steps: positive().default(50).describe("PPO steps: one collection and its updates each"),
    groups: positive().default(32).describe("levels per step"),
    groupSize: positive().default(8).describe("trajectories per level"),
    temperature: z.number().positive().default(1).describe("sampling temperature"),
    mask: z.enum(["answer", "response"]).default("response").describe("tokens that carry the policy loss"),
    epochs: positive().default(1).describe("passes over the collected batch"),
    minibatch: positive().default(32).describe("trajectories in an update"),
    criticWarmup: z.int().min(0).default(0).describe("first steps that train only the critic"),
    targetKl: z
      .number()
      .positive()
      .nullable()
      .default(null)
      .describe("a step's updates stop when approx_kl exceeds this"),
    critic: z
      .enum(["model", "shared", "none"])
      .default("model")
      .describe("model: a copy of the actor with a value head; shared: one backbone"),
    optimizer: optimizer(3e-4, [0.9, 0.99], 0),
    criticOptimizer: optimizer(1e-3, [0.9, 0.99], 0),
    schedule: schedule("constant", 0, 1),
    gradientClip: z
      .number()
      .positive()
      .nullable()
      .default(1)
      .describe("largest global norm of the gradient; null: no clipping"),
    loss: policyLoss,
    advantage,
    rewards,
    filter,
    validateEvery: z
      .int()
      .min(0)
      .default(10)
      .describe("steps between validations on tuning levels; 0: never"),
    validationLevels: positive().default(32).describe("tuning levels that a validation plays"),
    validationSamples: positive().default(4).describe("episodes on each of them"),
  })
  .prefault({});

const evaluation = z
  .strictObject({
    samples: positive().default(8).describe("episodes per level; Pass@k is reported for k up to this"),
    temperature: z.number().min(0).default(1).describe("sampling temperature; 0: the likeliest token"),
    split: z
      .enum(["test", "tuning"])
      .default("test")
      .describe("tuning: for choosing settings; reports use test"),
    bootstrap: positive().default(1000).describe("resamples of levels for the 95 % intervals"),
  })
  .prefault({});

const checkpoints = z
  .strictObject({
    every: positive().default(10).describe("PPO steps between checkpoints"),
    everyUpdates: positive().default(250).describe("updates between checkpoints of the base and SFT stages"),
    keep: positive()
      .default(2)
      .describe("checkpoints kept per stage; the best by validation is kept besides"),
  })
  .prefault({});

export const armNames = ["spa", "control", "format-only"] as const;

const settings = z.strictObject({
  preset: z.string().default("custom").describe("name of the preset that this started from"),
  seed: z.int().min(0).default(1).describe("every random choice follows from it"),
  arms: z
    .union([z.literal("all").transform(() => [...armNames]), z.array(z.enum(armNames)).min(1)])
    .default(["spa", "control"])
    .describe(
      "spa: self-play, SFT, PPO; control: the same base, plain prompt, PPO; format-only: world-model format without SFT; all",
    ),
  engine,
  model: z.discriminatedUnion("kind", [nanoModel, pretrainedModel]).prefault({ kind: "nano" }),
  environment,
  protocol,
  levels,
  base,
  selfPlay,
  sft,
  ppo: ppoSchema,
  control: z
    .strictObject({
      optimizer: optimizer(3e-4, [0.9, 0.99], 0),
      criticOptimizer: optimizer(1e-3, [0.9, 0.99], 0),
      mask: z.enum(["answer", "response"]).default("response").describe("tokens that carry the policy loss"),
      entropyCoefficient: z.number().min(0).default(0.001).describe("weight of the entropy bonus"),
    })
    .prefault({})
    .describe("the control's own tuned PPO settings; everything else is the same as SPA's"),
  evaluation,
  checkpoints,
});

export const configSchema = settings.superRefine((config, context) => {
  for (const { path, message, isBroken } of crossChecks) {
    if (isBroken(config)) context.addIssue({ code: "custom", path, message, input: config });
  }
});

export type Config = z.infer<typeof settings>;
export type PpoConfig = z.infer<typeof ppoSchema>;
export type ArmName = (typeof armNames)[number];
