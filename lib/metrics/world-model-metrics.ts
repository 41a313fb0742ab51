import type { Metric } from "./metric.ts";

/** Of an evaluation in world-model format, by their path under `worldModel` in results.json. */
export const worldModelMetrics: readonly Metric[] = [
  {
    name: "observation.all",
    meaning: "turns whose `<observation>` is the true state before them: `observation_accuracy`",
    healthy: "above 0.95 after SFT",
  },
  {
    name: "prediction.all",
    meaning: "turns whose `<prediction>` is the true state after them: `prediction_accuracy`",
    healthy: "above 0.5 after SFT",
  },
  {
    name: "….changed, ….unchanged",
    meaning: "the same over turns that changed the state, and over those that did not",
    healthy: "near each other; a model that copies its observation is right on `unchanged` alone",
  },
  {
    name: "….byActions.{n}",
    meaning: "the same over turns whose answer holds $n$ actions, 0 where none could be read",
    healthy: "falls with $n$, for each action is a chance to go wrong",
  },
  {
    name: "….parts.{part}",
    meaning:
      "turns whose coordinates of a part are right in whatever order, among those where the true state or the text names the part (`player`, `box`, `hole`, `goal`, `empty cell`). Empty with `protocol.traceState=grid`",
    healthy: "what moves is the hardest; a part below the others is one that the model has not learnt",
  },
  {
    name: "….cells",
    meaning: "cells of the true grids that stand at the same row and place of the text, over all turns",
    healthy:
      "near 1 though `all` is low: the model knows the map and not the move. Compare models by `changed`",
  },
  {
    name: "followed",
    meaning: "of turns whose observation is right, those that end in the state they predict",
    healthy:
      "the answer carries out what was foretold; low with right observations: the dynamics are not known",
  },
  {
    name: "success.firstRight, success.firstWrong",
    meaning: "success rate of trajectories whose first prediction is right, and of those whose is wrong",
    healthy: "far apart where success rests on foresight; equal: the policy does not use its predictions",
  },
  {
    name: "perplexity.{state}.perplexity, ….natsPerState",
    meaning:
      "of true observations, predictions, and predictions of turns that changed the state (`observation`, `prediction`, `predictionChanged`): exp of the mean negative log-prob of a token, and the sum over a state's tokens; 32 tuning levels under random play, no shares",
    healthy:
      "falls in SFT, for predictions too; rises in PPO, which has no use for the states that its policy avoids",
  },
];
