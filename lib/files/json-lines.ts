import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { z } from "zod";
import { SpaError } from "../errors.ts";
import { writeFileAtomically } from "./atomic-file.ts";
import { fileError } from "./file-error.ts";
import { type Line, lastWholeLine, longestLine, pieceBytes, readLines, readRange } from "./line-file.ts";
import { parseShape } from "./shape.ts";

/** JSON has no word for NaN and infinities: NaN (a figure that does not apply) is left out, infinities become the largest number. */
function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value !== "number" || Number.isFinite(value)) return value;
  return Number.isNaN(value) ? undefined : Math.sign(value) * Number.MAX_VALUE;
}

function isJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString());
    return true;
  } catch {
    return false;
  }
}

/** A row, and the line that it stands on. */
export interface LoggedRow<Row> {
  row: Row;
  line: Pick<Line, "number" | "begin" | "end">;
}

/**
 * A file of JSON values, one a line, that grows by appending. A process that dies while it appends leaves a torn last
 * line, which readers pass over and {@link JsonLines.repair} cuts off. Files of any size are read in constant memory.
 */
export class JsonLines<Row> {
  readonly path: string;
  readonly #schema: z.ZodType<Row>;
  readonly #piece: number;
  #descriptor: number | undefined;

  /**
   * @param schema of a row; by default any JSON
   * @param piece bytes that are read at once
   */
  constructor(path: string, schema: z.ZodType<Row> = z.any(), piece = pieceBytes) {
    this.path = path;
    this.#schema = schema;
    this.#piece = piece;
  }

  /**
   * Appends rows with one write.
   *
   * @throws SpaError `DISK_FULL`, `FILE_FAILED`; none of the rows is in the file then
   */
  append(...rows: Row[]): void {
    if (rows.length === 0) return;
    const bytes = Buffer.from(rows.map((row) => `${JSON.stringify(row, jsonValue)}\n`).join(""));
    this.#writing(() => {
      this.#descriptor ??= openSync(this.path, "a+");
      const length = fstatSync(this.#descriptor).size;
      try {
        for (let written = 0; written < bytes.length; ) {
          written += writeSync(this.#descriptor, bytes, written);
        }
      } catch (error) {
        this.#cutBack(this.#descriptor, length);
        throw error;
      }
    });
  }

  /** After a failed write. Where this fails as well, readers see a torn line. */
  #cutBack(descriptor: number, length: number): void {
    try {
      ftruncateSync(descriptor, length);
    } catch {
      // The failure to write is the one to tell.
    }
  }

  /**
   * The whole rows one after another, each with its place.
   *
   * @param after a line that an earlier call has told of: only what stands behind it
   * @throws SpaError `BAD_CHECKPOINT` on a damaged line that is not the torn last one, and on a row of another shape
   */
  *entries(after?: LoggedRow<Row>["line"]): Generator<LoggedRow<Row>> {
    const first = after && { number: after.number + 1, begin: after.end };
    for (const line of this.#lines(first)) yield { row: this.#parse(line), line };
  }

  /** Every whole row. @throws as {@link JsonLines.entries} */
  read(): Row[] {
    return [...this.entries()].map(({ row }) => row);
  }

  /** The row of a line that {@link JsonLines.entries} has told of. @throws as there */
  at({ number, begin, end }: LoggedRow<Row>["line"]): Row {
    const bytes = this.#opened((descriptor) => readRange(descriptor, begin, end - 1));
    return this.#parse({ number, begin, end, bytes });
  }

  /** Keeps the rows that `keep` accepts. A crash in the middle leaves the old file or the new one. */
  filter(keep: (row: Row) => boolean): void {
    let prefix = 0;
    let dropped = false;
    let rewritten = false;
    for (const { row, line } of this.entries()) {
      if (!keep(row)) dropped = true;
      else if (dropped) rewritten = true;
      else prefix = line.end;
      if (rewritten) break;
    }
    if (rewritten) {
      this.close();
      this.#writing(() => writeFileAtomically(this.path, this.#kept(keep)));
    } else if (this.size > prefix) {
      this.close();
      this.#writing(() => truncateSync(this.path, prefix));
    }
  }

  /** The bytes of the rows that `keep` accepts, in pieces. */
  *#kept(keep: (row: Row) => boolean): Generator<Buffer> {
    let piece: Buffer[] = [];
    let bytes = 0;
    for (const line of this.#lines()) {
      if (!keep(this.#parse(line))) continue;
      piece.push(Buffer.from(line.bytes!), Buffer.from("\n"));
      bytes += line.end - line.begin;
      if (bytes < this.#piece) continue;
      yield Buffer.concat(piece);
      piece = [];
      bytes = 0;
    }
    yield Buffer.concat(piece);
  }

  /** Cuts off a torn end. For the process that holds the run's lock. */
  repair(): void {
    const { size } = this;
    if (size === 0) return;
    const whole = this.#opened((descriptor) => lastWholeLine(descriptor, size, isJson, this.#piece));
    if (whole < size) this.#writing(() => truncateSync(this.path, whole));
  }

  /** Brings everything appended so far to disk. */
  sync(): void {
    const descriptor = this.#descriptor;
    if (descriptor !== undefined) this.#writing(() => fsyncSync(descriptor));
  }

  close(): void {
    const descriptor = this.#descriptor;
    if (descriptor === undefined) return;
    this.#descriptor = undefined;
    this.#writing(() => {
      try {
        fsyncSync(descriptor);
      } finally {
        closeSync(descriptor);
      }
    });
  }

  *#lines(first?: Pick<Line, "number" | "begin">): Generator<Line> {
    const { size } = this;
    if (size === 0) return;
    const descriptor = this.#reading(() => openSync(this.path, "r"));
    try {
      const whole = lastWholeLine(descriptor, size, isJson, this.#piece);
      yield* readLines(descriptor, whole, this.#piece, first);
    } catch (error) {
      throw fileError(error, this.path, "read");
    } finally {
      closeSync(descriptor);
    }
  }

  /** In bytes; 0 where there is no file. */
  get size(): number {
    return this.#reading(() => statSync(this.path, { throwIfNoEntry: false })?.size ?? 0);
  }

  #opened<T>(work: (descriptor: number) => T): T {
    return this.#reading(() => {
      const descriptor = openSync(this.path, "r");
      try {
        return work(descriptor);
      } finally {
        closeSync(descriptor);
      }
    });
  }

  #reading<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw fileError(error, this.path, "read");
    }
  }

  #writing<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw fileError(error, this.path);
    }
  }

  #parse({ number, bytes }: Line): Row {
    const hint = `the file was damaged or edited; delete line ${number} to go on without it`;
    if (bytes === undefined) {
      const message = `${this.path}, line ${number}, is longer than ${longestLine} bytes`;
      throw new SpaError("BAD_CHECKPOINT", message, { hint });
    }
    return parseShape(this.#schema, bytes.toString(), { file: this.path, line: number, hint });
  }
}
