import { z } from "zod";

/** The share of `count` things that were right; null of none. */
const share = z.object({ share: z.number().nullable(), count: z.int().min(0) });

/** How often a state was written rightly, and which parts of it. */
const stateQuality = z.object({
  /** Turns whose whole text is right, as `observationAccuracy` and `predictionAccuracy` count them. */
  all: share,
  /** Of these, turns that changed the state, and those that did not. */
  changed: share,
  unchanged: share,
  /** By the number of actions in the answer; 0 where none could be read. */
  byActions: z.record(z.string(), share),
  /** Turns whose coordinates are right, by what they are of: player, box, hole, goal, empty cell. */
  parts: z.record(z.string(), share),
  /** Cells of all turns' grids. */
  cells: share,
});

/** How well true states are foretold; null where there were none. */
const stateFit = z.object({
  /** exp of the mean negative log-prob of a token. */
  perplexity: z.number().nullable(),
  /** Mean over states of their tokens' summed negative log-probs. */
  natsPerState: z.number().nullable(),
});

const perplexity = z.object({ observation: stateFit, prediction: stateFit, predictionChanged: stateFit });

/** What an evaluation found of a policy's world model; docs/metrics.md explains each figure. */
export const worldModelSchema = z.object({
  observation: stateQuality,
  prediction: stateQuality,
  /** Turns that ended in the state they predicted, of those whose observation was right. */
  followed: share,
  /** Trajectories that solved their level, by whether their first prediction was right. */
  success: z.object({ firstRight: share, firstWrong: share }),
  /** Of the true states of random play on tuning levels; absent where an earlier version wrote, or where they do not fit the context. */
  perplexity: perplexity.optional(),
});

export type Share = z.output<typeof share>;
export type StateQuality = z.output<typeof stateQuality>;
export type Perplexity = z.output<typeof perplexity>;
export type WorldModelQuality = z.output<typeof worldModelSchema>;
