import { setImmediate } from "node:timers/promises";
import { parquetWriteBuffer } from "hyparquet-writer";
import { z } from "zod";
import { SpaError, throwIfAborted } from "../../errors.ts";
import { writeFileAtomically } from "../../files/atomic-file.ts";
import { SeededGenerator } from "../../rollout/seeded-generator.ts";
import { chatFormatOf } from "../../text/chat-format.ts";
import { joinPieces, type TokenPiece, writeConversation } from "../../text/conversation.ts";
import { isAssistantRole, roleNames } from "../../text/roles.ts";
import { spansOf } from "../../text/spans.ts";
import type { TurnFormat } from "../../text/tags.ts";
import { TextMemory } from "../../text/text-memory.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { encodeSpans } from "../../text/turn-text.ts";
import { changedByText, type SftExample } from "./examples.ts";
import { ParquetFailure, type ParquetRequest, readParquet } from "./parquet-reader.ts";

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

/** Writes examples token by token: `tokens` as little-endian int32, `roles`, `trainable` and `changed` as bytes. */
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
      { name: "changed", data: examples.map(({ changed }) => changed) },
      { name: "segments", data: examples.map(({ segments }) => asBytes(Uint32Array.from(segments))) },
    ],
    schema: [
      { name: "schema", num_children: 7 },
      integer("trajectory"),
      text("split"),
      bytes("tokens"),
      bytes("roles"),
      bytes("trainable"),
      bytes("changed"),
      bytes("segments"),
    ],
  });
  writeFileAtomically(file, new Uint8Array(buffer));
}

const bytesSchema = z.instanceof(Uint8Array);
const wordsSchema = bytesSchema.refine(({ length }) => length % 4 === 0, { message: "it is cut off" });
const exampleSchema = z
  .object({
    trajectory: z.bigint().min(0n).transform(Number),
    split: z.enum(["train", "validation"]),
    tokens: wordsSchema.transform((bytes) => new Int32Array(bytes.slice().buffer)),
    roles: bytesSchema.transform((bytes) => bytes.slice()),
    trainable: bytesSchema.transform((bytes) => bytes.slice()),
    changed: bytesSchema.transform((bytes) => bytes.slice()).optional(),
    segments: wordsSchema.transform((bytes) => [...new Uint32Array(bytes.slice().buffer)]),
  })
  .superRefine(({ tokens, roles, trainable, changed, segments }, context) => {
    const refuse = (column: string, message: string) =>
      context.addIssue({ code: "custom", path: [column], message });
    for (const [column, values] of Object.entries({ roles, trainable, changed })) {
      if (values !== undefined && values.length !== tokens.length)
        refuse(column, `it has ${values.length} entries for ${tokens.length} tokens`);
    }
    if (tokens.some((token) => token < 0)) refuse("tokens", "there is no such token");
    if (roles.some((role) => role >= roleNames.length)) refuse("roles", "there is no such role");
    if (trainable.some((flag, index) => flag > 1 || (flag === 1 && !isAssistantRole(roles[index]))))
      refuse("trainable", "a token that is no part of the agent's turn is trained");
    if (changed?.some((flag) => flag > 1)) refuse("changed", "it holds more than zeros and ones");
    const rises = segments.every(
      (begin, index) => begin < tokens.length && begin > (segments[index - 1] ?? -1),
    );
    if (segments[0] !== 0 || !rises) refuse("segments", "they do not divide the tokens");
  });

/**
 * Reads what {@link writeExamples} wrote; lengths, roles and segments must fit each other. Files of versions that did not keep
 * which turns changed the state are read as {@link readSftFile} reads others: their texts are compared.
 *
 * @throws SpaError BAD_CHECKPOINT when it is missing or damaged, ABORTED
 */
export async function readExamples(file: string, signal?: AbortSignal): Promise<SftExample[]> {
  const columns = Object.keys(exampleSchema.shape);
  const request = {
    columns: columns.map((name) => ({ name })),
    required: columns.filter((name) => name !== "changed"),
    utf8: false,
    signal,
  };
  const rows = await readRows(file, "BAD_CHECKPOINT", request, exampleSchema);
  return rows.map((row) => ({ ...row, changed: row.changed ?? changedByText(row) }));
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
/** JSON text in place of what it says, as other programs store nested columns; other values as they are. */
function unfolded(value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** What `extra_info` says to this package; whatever else it is or holds is somebody else's. */
function extraFields(value: unknown): unknown {
  const fields = unfolded(value);
  return typeof fields === "object" && fields !== null && !Array.isArray(fields) ? fields : {};
}

const extraSchema = z.object({
  split: z.string().nullish(),
  trajectory: z.union([z.string(), z.number(), z.nan(), z.bigint()]).nullish(),
});
const rowSchema = z.object({
  prompt: z.preprocess(unfolded, promptSchema),
  response: z.string().min(1),
  extra_info: z.preprocess(extraFields, extraSchema),
});

/** A row of somebody's SFT file, as far as it is read. */
type SftFileRow = z.output<typeof rowSchema>;

const sftColumns = [
  { name: "prompt" },
  { name: "response" },
  { name: "extra_info", fields: Object.keys(extraSchema.shape) },
];

/**
 * Reads the rows of an SFT file, as {@link readSftFile} does, without a tokenizer: what can be said before a run begins.
 * No other columns are read: what they hold, and how, does not matter.
 *
 * @throws SpaError BAD_ARGUMENT naming the column or row, when there is no such file, no Parquet, or none with such rows;
 * ABORTED
 */
export async function readSftRows(file: string, signal?: AbortSignal): Promise<SftFileRow[]> {
  const request = { columns: sftColumns, required: ["prompt", "response"], utf8: true, signal };
  const rows = await readRows(file, "BAD_ARGUMENT", request, rowSchema);
  if (rows.length === 0) throw badFile("BAD_ARGUMENT", file, "it has no rows");
  return rows;
}

/**
 * Reads an SFT file with SPA's columns (`prompt` and `response` are needed) as training examples, one a row. Whether a row's
 * turn changed the state shows in its observation and prediction.
 *
 * Rows of one trajectory (`extra_info.trajectory`, else the same first user message) are on the same side of the split:
 * on that of `extra_info.split` if it is given (upper and lower case and blanks around it do not matter), else
 * `validationShare` of the trajectories are for validation.
 *
 * @throws SpaError BAD_ARGUMENT naming the row, when the file is no Parquet or a row has not the form, or more tokens than
 * `maxTokens`; ABORTED
 */
export async function readSftFile(
  file: string,
  tokenizer: Tokenizer,
  options: SftFileOptions,
): Promise<SftExample[]> {
  const { contents, endToken } = chatFormatOf(tokenizer);
  const spans = new TextMemory<Int32Array>();
  const encode = (text: string) => spans.of(text, () => contents.encode(text));
  const written = (text: string) => encodeSpans(spansOf(text, options.format), { encode }, endToken);
  const trajectories = new Map<string, number>();
  const examples: SftExample[] = [];
  const rows = await readSftRows(file, options.signal);
  for (const [index, { prompt, response, extra_info: extra }] of rows.entries()) {
    if (index % ROWS_AT_ONCE === 0) await setImmediate();
    throwIfAborted(options.signal);
    const key = String(extra.trajectory ?? prompt.find(({ role }) => role === "user")?.content);
    const trajectory = trajectories.get(key) ?? trajectories.size;
    trajectories.set(key, trajectory);
    const drawn = new SeededGenerator(options.seed, "split", trajectory).chance(options.validationShare);
    const split = sideOf(extra.split) ?? (drawn ? "validation" : "train");
    const encoded = encodeRow(prompt, written(response), tokenizer, written);
    if (encoded.tokens.length > options.maxTokens) {
      throw new SpaError(
        "BAD_ARGUMENT",
        `${file}: row ${index} has ${encoded.tokens.length} tokens, but protocol.maxTokens is ${options.maxTokens}`,
        { hint: "raise protocol.maxTokens, or leave such rows out of the file" },
      );
    }
    examples.push({ trajectory, split, ...encoded });
  }
  return examples;
}

/** What {@link readSftFile} goes by. */
interface SftFileOptions {
  format: TurnFormat;
  validationShare: number;
  seed: number;
  maxTokens: number;
  signal?: AbortSignal | undefined;
}

/** Rows that are encoded before the event loop gets its turn. */
const ROWS_AT_ONCE = 16;

/** Why all rows of a file are held back for validation: what their column says, or the share that is drawn. */
export function whyHeldBack(rows: readonly SftFileRow[], validationShare: number): string {
  const splits = rows.map(({ extra_info }) => extra_info.split);
  const named = new Set(
    splits.filter((split) => sideOf(split) !== undefined).map((split) => JSON.stringify(split)),
  );
  return [
    ...(named.size > 0 ? [`extra_info.split is ${[...named].slice(0, 3).join(", ")}`] : []),
    ...(splits.some((split) => sideOf(split) === undefined)
      ? [`sft.validationShare is ${validationShare}`]
      : []),
  ].join("; ");
}

/** The side that `extra_info.split` names; undefined where it names none. */
function sideOf(split: string | null | undefined): SftExample["split"] | undefined {
  const name = split?.trim().toLowerCase() ?? "";
  if (name === "") return undefined;
  return name.startsWith("train") ? "train" : "validation";
}

function encodeRow(
  prompt: readonly z.infer<typeof messageSchema>[],
  response: TokenPiece,
  tokenizer: Tokenizer,
  written: (reply: string) => TokenPiece,
): Pick<SftExample, "tokens" | "roles" | "trainable" | "changed" | "segments"> {
  const before = writeConversation(tokenizer, chatFormatOf(tokenizer), prompt, written);
  const { tokens, roles } = joinPieces([before, response]);
  const trainable = new Uint8Array(tokens.length).fill(1, before.tokens.length);
  return { tokens, roles, trainable, changed: changedByText({ tokens, roles }), segments: [0] };
}

/** The rows of a file in their form. @throws SpaError of `code` */
async function readRows<Row>(
  file: string,
  code: FileErrorCode,
  request: ParquetRequest,
  schema: z.ZodType<Row>,
): Promise<Row[]> {
  const rows: Row[] = [];
  try {
    for await (const some of readParquet(file, request)) {
      for (const row of some) rows.push(schema.parse(row));
    }
  } catch (error) {
    if (error instanceof z.ZodError)
      throw badFile(code, file, `row ${rows.length}: ${firstIssue(error)}`, error);
    if (error instanceof ParquetFailure) throw badFile(code, file, error.message, error);
    throw error;
  }
  return rows;
}

function firstIssue({ issues: [{ path, message }] }: z.ZodError): string {
  return `${path.join(".")}: ${message}`;
}

type FileErrorCode = "BAD_ARGUMENT" | "BAD_CHECKPOINT";

function badFile(code: FileErrorCode, file: string, why: string, cause?: unknown): SpaError {
  const hint =
    code === "BAD_ARGUMENT"
      ? "an SFT file is Parquet with the columns prompt (list of {role, content}, or that as JSON text) and response (text)"
      : "the file belongs to the run and was damaged; do the self-play stage again";
  return new SpaError(code, `${file} cannot be read: ${why}`, { hint, cause });
}
