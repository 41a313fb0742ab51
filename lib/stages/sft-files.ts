import { readFileSync } from "node:fs";
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import { parquetWriteBuffer } from "hyparquet-writer";
import { z } from "zod";
import { writeFileAtomically } from "../atomic-file.ts";
import { SpaError } from "../errors.ts";
import { SeededGenerator } from "../rollout/seeded-generator.ts";
import { TrajectoryTokens } from "../rollout/trajectory.ts";
import { type ChatFormat, chatFormatOf } from "../text/chat-format.ts";
import { writeConversation } from "../text/conversation.ts";
import { spansOf } from "../text/spans.ts";
import type { TurnFormat } from "../text/tags.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { encodeSpans } from "../text/turn-text.ts";
import type { SftExample } from "./sft-examples.ts";

/** A row of an SFT file: one assistant turn and the conversation before it. The columns are those of SPA's files. */
export interface SftRow {
  data_source: string;
  prompt: { role: string; content: string }[];
  response: string;
  ability: string;
  reward_model: { style: string; ground_truth: string };
  extra_info: { split: string; trajectory: number; turn: number; seed: number };
}

const text = (name: string) => ({
  name,
  type: "BYTE_ARRAY" as const,
  converted_type: "UTF8" as const,
  repetition_type: "REQUIRED" as const,
});
const integer = (name: string) => ({ name, type: "INT64" as const, repetition_type: "REQUIRED" as const });
const bytes = (name: string) => ({ name, type: "BYTE_ARRAY" as const, repetition_type: "REQUIRED" as const });
const required = { repetition_type: "REQUIRED" as const };

/** Writes rows as Parquet with nested columns, as pandas and `datasets` read them. */
export function writeSftRows(file: string, rows: readonly SftRow[]): void {
  const column = <Name extends keyof SftRow>(name: Name) => ({ name, data: rows.map((row) => row[name]) });
  const buffer = parquetWriteBuffer({
    columnData: [
      column("data_source"),
      column("prompt"),
      column("response"),
      column("ability"),
      column("reward_model"),
      {
        name: "extra_info",
        data: rows.map(({ extra_info: { split, trajectory, turn, seed } }) => ({
          split,
          trajectory: BigInt(trajectory),
          turn: BigInt(turn),
          seed: BigInt(seed),
        })),
      },
    ],
    schema: [
      { name: "schema", num_children: 6 },
      text("data_source"),
      { name: "prompt", ...required, converted_type: "LIST", num_children: 1 },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      { name: "element", ...required, num_children: 2 },
      text("role"),
      text("content"),
      text("response"),
      text("ability"),
      { name: "reward_model", ...required, num_children: 2 },
      text("style"),
      text("ground_truth"),
      { name: "extra_info", ...required, num_children: 4 },
      text("split"),
      integer("trajectory"),
      integer("turn"),
      integer("seed"),
    ],
  });
  writeFileAtomically(file, new Uint8Array(buffer));
}

/** Writes examples token by token: `tokens` as little-endian int32, `roles` and `trainable` as bytes. */
export function writeExamples(file: string, examples: readonly SftExample[]): void {
  const asBytes = (array: Int32Array | Uint8Array | Uint32Array) =>
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const buffer = parquetWriteBuffer({
    columnData: [
      { name: "trajectory", data: examples.map(({ trajectory }) => BigInt(trajectory)) },
      { name: "split", data: examples.map(({ split }) => split) },
      { name: "tokens", data: examples.map(({ tokens }) => asBytes(tokens)) },
      { name: "roles", data: examples.map(({ roles }) => roles) },
      { name: "trainable", data: examples.map(({ trainable }) => trainable) },
      { name: "segments", data: examples.map(({ segments }) => asBytes(Uint32Array.from(segments))) },
    ],
    schema: [
      { name: "schema", num_children: 6 },
      integer("trajectory"),
      text("split"),
      bytes("tokens"),
      bytes("roles"),
      bytes("trainable"),
      bytes("segments"),
    ],
  });
  writeFileAtomically(file, new Uint8Array(buffer));
}

const examplesSchema = z.array(
  z.object({
    trajectory: z.bigint().transform(Number),
    split: z.enum(["train", "validation"]),
    tokens: z.instanceof(Uint8Array),
    roles: z.instanceof(Uint8Array),
    trainable: z.instanceof(Uint8Array),
    segments: z.instanceof(Uint8Array),
  }),
);

/** Reads what {@link writeExamples} wrote. @throws SpaError BAD_CHECKPOINT when it is missing or damaged */
export async function readExamples(file: string): Promise<SftExample[]> {
  const rows = examplesSchema.safeParse(await readParquet(file, "BAD_CHECKPOINT", false));
  if (!rows.success) throw badFile("BAD_CHECKPOINT", file, z.prettifyError(rows.error));
  return rows.data.map((row) => ({
    ...row,
    tokens: new Int32Array(row.tokens.slice().buffer),
    roles: row.roles.slice(),
    trainable: row.trainable.slice(),
    segments: [...new Uint32Array(row.segments.slice().buffer)],
  }));
}

const messageSchema = z.object({ role: z.enum(["system", "user", "assistant"]), content: z.string() });
const promptSchema = z
  .array(messageSchema)
  .min(1)
  .refine((messages) => messages.every(({ role }, index) => role !== "system" || index === 0), {
    message: "a system message can only be the first one",
  })
  .refine((messages) => messages.find(({ role }) => role !== "system")?.role === "user", {
    message: "there is no user message before the assistant's",
  });
const rowSchema = z.object({
  prompt: promptSchema,
  response: z.string().min(1),
  extra_info: z.record(z.string(), z.unknown()).nullish(),
});

/**
 * Reads the rows of an SFT file, as {@link readSftFile} does, without a tokenizer: what can be said before a run begins.
 *
 * @throws SpaError BAD_ARGUMENT naming the column or row, when there is no such file, no Parquet, or none with such rows
 */
export async function readSftRows(file: string): Promise<z.infer<typeof rowSchema>[]> {
  let columns: string[];
  try {
    columns = parquetMetadata(arrayBufferOf(file)).schema.map(({ name }) => name);
  } catch (error) {
    throw badFile("BAD_ARGUMENT", file, reasonOf(error), error);
  }
  const missing = ["prompt", "response"].filter((name) => !columns.includes(name));
  if (missing.length > 0) throw badFile("BAD_ARGUMENT", file, `it has no column ${missing.join(" and no ")}`);
  const rows = await readParquet(file, "BAD_ARGUMENT", true);
  if (rows.length === 0) throw badFile("BAD_ARGUMENT", file, "it has no rows");
  return rows.map((row, index) => {
    const { success, data, error } = rowSchema.safeParse(row);
    if (success) return data;
    const [issue] = error.issues;
    throw badFile("BAD_ARGUMENT", file, `row ${index}: ${issue.path.join(".")}: ${issue.message}`);
  });
}

/**
 * Reads an SFT file with SPA's columns (`prompt` and `response` are needed) as training examples, one a row.
 *
 * Rows of one trajectory (`extra_info.trajectory`, else the same first user message) are on the same side of the split:
 * on that of `extra_info.split` if it is given, else `validationShare` of the trajectories are for validation.
 *
 * @throws SpaError BAD_ARGUMENT naming the row, when the file is no Parquet or a row has not the form, or more tokens than
 * `maxTokens`
 */
export async function readSftFile(
  file: string,
  tokenizer: Tokenizer,
  options: { format: TurnFormat; validationShare: number; seed: number; maxTokens: number },
): Promise<SftExample[]> {
  const rows = await readSftRows(file);
  const chat = chatFormatOf(tokenizer);
  const trajectories = new Map<string, number>();
  return rows.map(({ prompt, response, extra_info: extra }, index) => {
    const key = String(extra?.trajectory ?? prompt.find(({ role }) => role === "user")?.content);
    const trajectory = trajectories.get(key) ?? trajectories.size;
    trajectories.set(key, trajectory);
    const drawn = new SeededGenerator(options.seed, "split", trajectory).chance(options.validationShare);
    const split = typeof extra?.split === "string" ? sideOf(extra.split) : drawn ? "validation" : "train";
    const encoded = encodeRow(prompt, response, tokenizer, chat, options.format);
    if (encoded.tokens.length > options.maxTokens) {
      throw new SpaError(
        "BAD_ARGUMENT",
        `${file}: row ${index} has ${encoded.tokens.length} tokens, but protocol.maxTokens is ${options.maxTokens}`,
        { hint: "raise protocol.maxTokens, or leave such rows out of the file" },
      );
    }
    return { trajectory, split, ...encoded };
  });
}

function sideOf(split: string): SftExample["split"] {
  return split.startsWith("train") ? "train" : "validation";
}

function encodeRow(
  prompt: readonly z.infer<typeof messageSchema>[],
  response: string,
  tokenizer: Tokenizer,
  chat: ChatFormat,
  format: TurnFormat,
): Pick<SftExample, "tokens" | "roles" | "trainable" | "segments"> {
  const written = (text: string) => encodeSpans(spansOf(text, format), chat.contents, chat.endToken);
  const before = writeConversation(tokenizer, chat, prompt, written);
  const turn = written(response);
  const tokens = new TrajectoryTokens();
  tokens.beginSegment();
  tokens.appendText(before.tokens, before.roles);
  const begin = tokens.length;
  tokens.appendText(turn.tokens, turn.roles);
  const { tokens: ids, roles, segments } = tokens.finish();
  return { tokens: ids, roles, trainable: new Uint8Array(ids.length).fill(1, begin), segments };
}

async function readParquet(
  file: string,
  code: "BAD_ARGUMENT" | "BAD_CHECKPOINT",
  utf8: boolean,
): Promise<Record<string, unknown>[]> {
  try {
    return await parquetReadObjects({ file: arrayBufferOf(file), utf8 });
  } catch (error) {
    throw badFile(code, file, reasonOf(error), error);
  }
}

function arrayBufferOf(file: string): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = readFileSync(file);
  return buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const codec = /unsupported compression codec: (\w+)/.exec(message)?.[1];
  if (codec)
    return `it is compressed with ${codec}; SNAPPY, the default of pandas, and no compression are supported`;
  return code === "ENOENT" ? "there is no such file" : message;
}

function badFile(
  code: "BAD_ARGUMENT" | "BAD_CHECKPOINT",
  file: string,
  why: string,
  cause?: unknown,
): SpaError {
  const hint =
    code === "BAD_ARGUMENT"
      ? "an SFT file is Parquet with the columns prompt (list of {role, content}) and response"
      : "the file belongs to the run and was damaged; do the self-play stage again";
  return new SpaError(code, `${file} cannot be read: ${why}`, { hint, cause });
}
