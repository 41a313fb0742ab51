import { z } from "zod";
import { fraction, gradientClip, optimizer, positive, schedule } from "./fields.ts";

const tracedEnvironment = z.strictObject({
  name: z.string().describe("a registered environment"),
  options: z.record(z.string(), z.unknown()).default({}).describe("the environment's own options"),
});

export const base = z
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
    validActions: z
      .boolean()
      .default(false)
      .describe(
        "actions in traces and of the random policy are drawn until the environment calls them valid in the state before the turn (Sudoku: no given cells)",
      ),
    also: z
      .array(tracedEnvironment)
      .default([])
      .describe(
        "environments that traces are played in beside the run's own, each as often, so that runs there can start from this base: a list of { name, options }",
      ),
    promptStates: z
      .array(z.enum(["grid", "structured"]))
      .min(1)
      .nullable()
      .default(null)
      .describe("how the prompts of traces show the state, each as often; null: as protocol.promptState"),
    worldModelShare: fraction().default(0.6).describe("share of traces in world-model format"),
    corruptionProbability: fraction()
      .default(0.3)
      .describe("probability that a state has one to three wrong cells; also of each wrong coordinate"),
    reasoningCorruption: fraction()
      .default(0)
      .describe(
        "probability of each wrong coordinate in the reasoning of plain traces, which an instruct LLM reads off the grid",
      ),
    tokenDropProbability: fraction().default(0.04).describe("share of traces that lose one token"),
    optimizer: optimizer(3e-3, [0.9, 0.98], 0.01),
    schedule: schedule("cosine", 0.025, 0.1),
    gradientClip: gradientClip(),
  })
  .prefault({});

export const selfPlay = z
  .strictObject({
    trajectories: positive().default(4096).describe("episodes that the model plays in world-model format"),
    groupSize: positive().default(1).describe("episodes on the same level"),
    temperature: z.number().positive().default(1).describe("sampling temperature"),
    rounds: positive()
      .default(1)
      .describe("self-play and SFT alternate this often; trajectories are split over the rounds"),
    unchangedTurns: fraction()
      .default(1)
      .describe(
        "share of the turns without effect on the state that are trained on, drawn from the seed; below 1 where most turns change nothing and teach only to copy",
      ),
    policy: z
      .enum(["model", "random"])
      .default("model")
      .describe("random: actions are replaced by random ones (ablation)"),
  })
  .prefault({});

const gate = z
  .strictObject({
    formatRate: fraction()
      .nullable()
      .default(0.5)
      .describe("least share of well-formed turns in the last validation before PPO; null: any"),
    prediction: fraction()
      .nullable()
      .default(null)
      .describe("least share of right predictions in the last validation before PPO; null: any"),
    stop: z
      .boolean()
      .default(false)
      .describe("end the arm where PPO would start from less, not only warn; other arms go on"),
  })
  .prefault({});

const weight = () => z.number().min(0).default(1);

const sftWeights = z
  .strictObject({
    think: weight().describe("weight in the loss of tags and of text in <think> that is no state"),
    observation: weight().describe("weight of the text of observations"),
    prediction: weight().describe("weight of the text of predictions"),
    answer: weight().describe("weight of the answer's text, its closing tag and the end token"),
    changed: weight().describe(
      "factor on observation, prediction and answer of turns that changed the state; above 1 where most turns change nothing",
    ),
  })
  .prefault({});

export const sft = z
  .strictObject({
    data: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe(
        "Parquet file in SPA's columns to train on in place of self-play (prompt, response), rows of at most protocol.maxTokens",
      ),
    epochs: positive().default(8).describe("passes over the data of a round"),
    batchSize: positive().default(16).describe("trajectories in an update"),
    mask: z
      .enum(["full", "answer", "response", "no-state", "state-only"])
      .default("full")
      .describe("tokens that carry the loss"),
    weights: sftWeights,
    states: z
      .enum(["true", "sampled", "true-observation", "true-prediction", "random-coordinates", "random"])
      .default("true")
      .describe(
        "what stands in observation and prediction; ablations are sampled: what the model wrote, true-observation and true-prediction: the truth in one, what the model wrote in the other, random-coordinates: true grids with random coordinates, random: other states of the environment",
      ),
    excludeHeldStates: z
      .boolean()
      .default(false)
      .describe(
        "leave trajectories out in which a test or tuning level begins, though training did not begin there",
      ),
    validationShare: fraction().default(0.05).describe("share of trajectories kept for validation"),
    validationLevels: z
      .int()
      .min(0)
      .default(32)
      .describe("tuning levels played after each epoch to count right observations and predictions; 0: none"),
    gate,
    optimizer: optimizer(2e-3, [0.9, 0.95], 0.01),
    schedule: schedule("cosine", 0.1, 0),
    gradientClip: gradientClip(),
  })
  .prefault({});
