import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  truncateSync,
  writeSync,
} from "node:fs";
import type { Json } from "../../envs/environment.ts";
import { writeFileAtomically } from "../atomic-file.ts";
import { SpaError } from "../errors.ts";
import { fileError } from "../file-error.ts";

/** JSON has no word for NaN and infinities: NaN (a figure that does not apply) is left out, infinities become the largest number. */
function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value !== "number" || Number.isFinite(value)) return value;
  return Number.isNaN(value) ? undefined : Math.sign(value) * Number.MAX_VALUE;
}

/**
 * The length of the part of `text` (bytes as Latin-1 characters, so that lengths are bytes) that consists of whole
 * lines, each of them JSON. Looks at the end only.
 */
function wholeLength(text: string): number {
  let end = text.lastIndexOf("\n") + 1;
  while (end > 0) {
    const begin = text.lastIndexOf("\n", end - 2) + 1;
    try {
      JSON.parse(text.slice(begin, end));
      return end;
    } catch {
      end = begin;
    }
  }
  return 0;
}

/**
 * A file of JSON values, one a line, that grows by appending. A process that dies while it appends leaves a torn last
 * line, which readers pass over and {@link JsonLines.repair} cuts off.
 */
export class JsonLines<Row> {
  readonly path: string;
  #descriptor: number | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Appends rows with one write.
   *
   * @throws SpaError `DISK_FULL`; none of the rows is in the file then
   */
  append(...rows: Row[]): void {
    if (rows.length === 0) return;
    const bytes = Buffer.from(rows.map((row) => `${JSON.stringify(row, jsonValue)}\n`).join(""));
    this.#descriptor ??= openSync(this.path, "a+");
    const length = fstatSync(this.#descriptor).size;
    try {
      for (let written = 0; written < bytes.length; ) {
        written += writeSync(this.#descriptor, bytes, written);
      }
    } catch (error) {
      if (fstatSync(this.#descriptor).isFile()) ftruncateSync(this.#descriptor, length);
      throw fileError(error, this.path);
    }
  }

  /** Every whole row. @throws SpaError `BAD_CHECKPOINT` on a damaged line that is not the torn last one */
  read(): Row[] {
    const text = this.#text();
    const lines = text.slice(0, wholeLength(text)).split("\n").slice(0, -1);
    return lines.map((line, index) => this.#parse(line, index + 1));
  }

  /** Keeps the rows that `keep` accepts. A crash in the middle leaves the old file or the new one. */
  filter(keep: (row: Row) => boolean): void {
    const text = this.#text();
    if (text === "") return;
    const lines = text.slice(0, wholeLength(text)).split("\n").slice(0, -1);
    const kept = lines
      .filter((line, index) => keep(this.#parse(line, index + 1)))
      .map((line) => `${line}\n`)
      .join("");
    if (kept === text) return;
    this.close();
    if (text.startsWith(kept)) {
      truncateSync(this.path, kept.length);
    } else {
      writeFileAtomically(this.path, Buffer.from(kept, "latin1"));
    }
  }

  /** Cuts off a torn end. For the process that holds the run's lock. */
  repair(): void {
    const text = this.#text();
    const whole = wholeLength(text);
    if (whole < text.length) truncateSync(this.path, whole);
  }

  /** Brings everything appended so far to disk. */
  sync(): void {
    if (this.#descriptor === undefined) return;
    try {
      fsyncSync(this.#descriptor);
    } catch (error) {
      throw fileError(error, this.path);
    }
  }

  close(): void {
    if (this.#descriptor === undefined) return;
    this.sync();
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #text(): string {
    return existsSync(this.path) ? readFileSync(this.path, "latin1") : "";
  }

  #parse(line: string, number: number): Row {
    try {
      return JSON.parse(Buffer.from(line, "latin1").toString("utf8")) as Row;
    } catch (error) {
      throw new SpaError(
        "BAD_CHECKPOINT",
        `${this.path}, line ${number}, is not JSON: ${(error as Error).message}`,
        {
          hint: `the file was damaged or edited; delete line ${number} to go on without it`,
          cause: error,
        },
      );
    }
  }
}

/** A JSON object as it stands in a file of lines. */
export type JsonRow = { [key: string]: Json };
