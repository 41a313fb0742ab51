import { type ChildProcess, fork } from "node:child_process";
import { on } from "node:events";
import { statSync } from "node:fs";
import { join } from "node:path";
import { throwIfAborted } from "../../errors.ts";
import { packageRoot } from "../../package.ts";

/** What is wanted of a file. Columns that it lacks are left out. */
export interface ParquetRequest {
  /** With `fields`, of a column that is a structure these children alone are read. */
  columns: readonly { name: string; fields?: readonly string[] }[];
  /** Columns without which the file is of no use. */
  required: readonly string[];
  /** Whether bytes that are not marked as text are text all the same. */
  utf8: boolean;
  signal?: AbortSignal | undefined;
  /** Milliseconds without a sign of life after which the file is given up; by default depends on its size. */
  patience?: number;
}

/** A row by its columns. */
type ParquetRow = Record<string, unknown>;

/** Why a file cannot be read, in words. */
export class ParquetFailure extends Error {}

/** Milliseconds without a sign of life after which a file is given up: a start on a busy machine, and a megabyte a second. */
const patienceWith = (bytes: number) => 10_000 + bytes / 1000;

/** Memory of the process that reads, in MiB. */
const HEAP = 4096;

type Message =
  | { columns: string[] }
  | { rows: ParquetRow[] }
  | { done: true }
  | { failure: { message: string } };

/**
 * Reads a Parquet file, some rows at a time, in a process of its own with a bound on its memory and on its time: whatever a
 * file holds, the event loop stays free and this process lives. Compressions: all that Parquet has but LZO.
 *
 * @throws ParquetFailure when the file is missing, damaged, or lacks a required column; SpaError ABORTED
 */
export async function* readParquet(file: string, request: ParquetRequest): AsyncGenerator<ParquetRow[]> {
  const { columns, required, utf8, signal } = request;
  throwIfAborted(signal);
  const found = statSync(file, { throwIfNoEntry: false });
  if (!found?.isFile()) throw new ParquetFailure(found ? "it is no file" : "there is no such file");
  const patience = request.patience ?? patienceWith(found.size);
  const child = fork(join(packageRoot(), "lib", "stages", "sft", "parquet-process.mjs"), [], {
    execArgv: [`--max-old-space-size=${HEAP}`],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  try {
    const messages = messagesOf(child, patience, signal);
    child.send({ path: file, columns, utf8 });
    for await (const message of messages) {
      if ("done" in message) return;
      if ("failure" in message) throw new ParquetFailure(reasonOf(message.failure));
      if ("rows" in message) yield message.rows;
      else refuseWithout(required, message.columns);
    }
  } finally {
    child.kill("SIGKILL");
  }
}

/** What the child says, until it has nothing more to say. @throws ParquetFailure when it dies or falls silent */
async function* messagesOf(
  child: ChildProcess,
  patience: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Message> {
  let ending = "";
  child.on("exit", (code, killedBy) => {
    ending ||= `it is damaged, or takes more than ${HEAP / 1024} GiB of memory (${killedBy ?? `exit ${code}`})`;
  });
  const timer = setTimeout(() => {
    ending = `it is damaged, or its row groups are too large: nothing came of it in ${Math.round(patience / 1000)} seconds`;
    child.kill("SIGKILL");
  }, patience);
  try {
    const events = on(child, "message", { close: ["exit"], ...(signal && { signal }) });
    for await (const [message] of events) {
      yield message as Message;
      timer.refresh();
    }
  } catch (error) {
    throwIfAborted(signal);
    throw new ParquetFailure(`no process could be started to read it: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
  throw new ParquetFailure(ending);
}

function refuseWithout(required: readonly string[], columns: readonly string[]): void {
  const missing = required.filter((name) => !columns.includes(name));
  if (missing.length === 0) return;
  throw new ParquetFailure(
    `it has no column ${missing.join(" and no ")}; it has ${columns.join(", ") || "none"}`,
  );
}

function reasonOf({ message }: { message: string }): string {
  const codec = /unsupported compression codec: (\w+)/.exec(message)?.[1];
  return codec ? `it is compressed with ${codec}, which is not supported; use SNAPPY, ZSTD or GZIP` : message;
}
