import { z } from "zod";
import { stateForms } from "../../text/state-text.ts";
import { positive } from "./fields.ts";

export const environment = z
  .strictObject({
    name: z.string().default("frozen-lake").describe("a registered environment"),
    options: z.record(z.string(), z.unknown()).default({}).describe("the environment's own options"),
    module: z
      .string()
      .nullable()
      .default(null)
      .describe("JavaScript file that defines the environment (--env)"),
    timeout: z
      .number()
      .positive()
      .max(2_000_000)
      .nullable()
      .default(60)
      .describe("seconds in which an environment that answers with promises must answer; null: any time"),
  })
  .prefault({});

export const protocol = z
  .strictObject({
    style: z
      .enum(["nano", "full"])
      .default("nano")
      .describe("wording of the prompts: nano is short, full is for LLMs"),
    promptState: z.enum(["grid", "structured"]).default("grid").describe("how the prompt shows the state"),
    traceState: z
      .enum(stateForms)
      .default("structured")
      .describe(
        "how observation and prediction are written: the grid, structured: with coordinates under it, or the coordinates alone",
      ),
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

export const levels = z
  .strictObject({
    trainSeed: z.int().min(0).default(10_000).describe("first seed of the training levels"),
    testSeed: z.int().min(0).default(123).describe("first seed of the test levels, which are reported"),
    tuningSeed: z
      .int()
      .min(0)
      .default(5_000)
      .describe("first seed of the tuning levels, on which settings are chosen"),
    testLevels: positive().default(128).describe("number of test levels"),
    testDistances: z
      .enum(["natural", "even"])
      .default("natural")
      .describe(
        "natural: test levels as their seeds give them; even: as many of each distance (length of a shortest solution), from 1 to the longest that ten seeds for each test level hold",
      ),
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

/** What a run is compared with: policies that none of its arms has trained. */
const referenceNames = ["random", "optimal", "base", "baseWorldModel"] as const;

export const evaluation = z
  .strictObject({
    references: z
      .array(z.enum(referenceNames))
      .default(["random", "base", "baseWorldModel"])
      .describe(
        "policies that are evaluated beside the arms'; random: uniform random actions, optimal: the best action, seen from state to state (environments that tell it), base: the model that the arms start from, baseWorldModel: the same in world-model format",
      ),
    samples: positive().default(8).describe("episodes per level; Pass@k is reported for k up to this"),
    temperature: z.number().min(0).default(1).describe("sampling temperature; 0: the likeliest token"),
    split: z
      .enum(["test", "tuning"])
      .default("test")
      .describe("tuning: for choosing settings; reports use test"),
    bootstrap: positive().default(1000).describe("resamples of levels for the 95 % intervals"),
  })
  .prefault({});
