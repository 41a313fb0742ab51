import { z } from "zod";
import { parseSize, sizePattern } from "../../files/size.ts";
import { positive } from "./fields.ts";

/** A number, or "auto". */
const planned = () => z.union([z.literal("auto"), positive()]).default("auto");

/** Bytes; a text is read as {@link parseSize} does. */
const memorySize = z.union([z.string().regex(sizePattern).transform(parseSize), positive()]).nullable();

export const engine = z
  .strictObject({
    device: z.enum(["auto", "cpu", "cuda"]).default("auto").describe("auto takes a GPU when there is one"),
    threads: positive().nullable().default(null).describe("CPU threads; null: all cores"),
    dtype: z.enum(["float32", "bfloat16"]).default("float32").describe("dtype of the weights"),
    microBatchTokens: planned().describe(
      "most tokens in one forward and backward pass; auto: what engine.memory allows, 8192 without",
    ),
    rolloutSlots: planned().describe(
      "trajectories that are sampled at the same time; auto: what engine.memory allows, 256 without",
    ),
    memory: memorySize
      .default(null)
      .describe(
        "bytes that tensors may take on the device, also as 24GB or 16GiB: planned with before the run (on a GPU also measured), and enforced; null: no limit",
      ),
    activationCheckpointing: z
      .union([z.literal("auto"), z.boolean()])
      .default("auto")
      .describe(
        "compute layers again in the backward pass to save memory; auto: only when engine.memory needs it",
      ),
    moments: z
      .enum(["float32", "int8"])
      .default("float32")
      .describe(
        "AdamW's moments; int8: a quarter of the memory, quantised block by block (arXiv 2110.02861)",
      ),
  })
  .prefault({});

const nanoModel = z.strictObject({
  kind: z.literal("nano").describe("the embedded model, pre-trained by the base stage"),
  architecture: z
    .enum(["qwen2", "llama"])
    .default("qwen2")
    .describe("qwen2: biases on queries, keys and values; llama: none"),
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
  kind: z
    .literal("pretrained")
    .describe("a model of the Hugging Face Hub or a folder; there is no base stage"),
  path: z
    .string()
    .min(1)
    .describe("a Hub id, or a folder with config.json, *.safetensors and tokenizer.json"),
  revision: z
    .string()
    .min(1)
    .default("main")
    .describe("branch, tag or commit of a Hub id; a run folder keeps the commit that it stood for"),
});

const stageModel = z.strictObject({
  kind: z.literal("stage").describe("what a stage of another run ended with; there is no base stage"),
  run: z.string().min(1).describe("the folder of that run"),
  stage: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe("the finished stage whose newest checkpoint is taken"),
  digest: z
    .string()
    .nullable()
    .default(null)
    .describe(
      "sha256 of that checkpoint's state.json; a run folder keeps it, and goes on from no other checkpoint",
    ),
});

/** `model: <Hub id or folder>` is short for a pretrained model at that path. */
export function expandModel(model: unknown): unknown {
  return typeof model === "string" ? { kind: "pretrained", path: model, revision: "main" } : model;
}

/** `start: <run folder>#<stage>` is short for the model that a stage ended with. */
export function expandStart(start: unknown): unknown {
  const text = typeof start === "string" ? start : "";
  const mark = text.lastIndexOf("#");
  const [run, stage] = mark < 0 ? [start, null] : [text.slice(0, mark), text.slice(mark + 1) || null];
  return { kind: "stage", run, stage, digest: null };
}

export const model = z
  .preprocess(expandModel, z.discriminatedUnion("kind", [nanoModel, pretrainedModel, stageModel]))
  .prefault({ kind: "nano" })
  .describe(
    "`model: <Hub id or folder>` is short for `{ kind: pretrained, path: <Hub id or folder>, revision: main }`, and `start: <run folder>#<stage>`, in place of `model`, for `{ kind: stage, run: <run folder>, stage: <stage> }` (docs/models.md)",
  );

export const checkpoints = z
  .strictObject({
    every: positive().default(10).describe("PPO steps between checkpoints"),
    everyUpdates: positive().default(250).describe("updates between checkpoints of the base and SFT stages"),
    keep: positive()
      .default(2)
      .describe("checkpoints kept per stage; the best by validation is kept besides"),
  })
  .prefault({});
