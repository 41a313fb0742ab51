import { z } from "zod";
import { adapterTargets } from "../../formats/adapter-config.ts";
import { positive } from "./fields.ts";

export const lora = z
  .strictObject({
    rank: positive().default(16).describe("rows of A and columns of B"),
    alpha: z.number().positive().default(32).describe("the adapter's part is scaled by alpha / rank"),
    dropout: z
      .number()
      .min(0)
      .lt(1)
      .default(0)
      .describe("share of the adapter's inputs that updates leave out"),
    targets: z
      .array(z.enum(adapterTargets))
      .min(1)
      .default([...adapterTargets])
      .describe("projections of every layer that get an adapter"),
  })
  .nullable()
  .default(null)
  .describe(
    "SFT and PPO train low-rank adapters (LoRA, arXiv:2106.09685) on the base model in place of all its weights; null: all weights; `lora={}` takes the defaults below",
  );
