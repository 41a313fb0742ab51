import { z } from "zod";

// Fields that several sections of the configuration have.

export const positive = () => z.int().positive();
export const fraction = () => z.number().min(0).max(1);
const decayRate = () => z.number().min(0).lt(1);

export const optimizer = (learningRate: number, betas: [number, number], weightDecay: number) =>
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

export const schedule = (kind: "constant" | "linear" | "cosine", warmup: number, minimumRatio: number) =>
  z
    .strictObject({
      kind: z.enum(["constant", "linear", "cosine"]).default(kind).describe("decay after warm-up"),
      warmup: fraction().default(warmup).describe("share of the steps with linearly rising learning rate"),
      minimumRatio: fraction().default(minimumRatio).describe("final learning rate as a share of the peak"),
    })
    .prefault({});

export const gradientClip = () =>
  z
    .number()
    .positive()
    .nullable()
    .default(1)
    .describe("largest global norm of the gradient; null: no clipping");
