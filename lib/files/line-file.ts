// Lines of a file of any size, read in pieces: memory holds a piece and a line, not the file.

import { readSync } from "node:fs";

/** Bytes that are read at once. */
export const pieceBytes = 2 ** 20;

/** No log has longer lines; what is longer is damage, and could not become a string. */
export const longestLine = 2 ** 28;

/** A line, and where it stands. */
export interface Line {
  /** From 1 on. */
  number: number;
  /** Byte at which it begins. */
  begin: number;
  /** One past its line feed. */
  end: number;
  /**
   * Without its line feed; undefined for a line longer than {@link longestLine}. Of {@link readLines} a view of a buffer
   * that the next lines are read into.
   */
  bytes: Buffer | undefined;
}

const lineFeed = 10;

/** The bytes of a file from `begin` to `end`, fewer where it is shorter. @param target holds that many bytes, and is used for them */
export function readRange(descriptor: number, begin: number, end: number, target?: Buffer): Buffer {
  const bytes = target?.subarray(0, end - begin) ?? Buffer.allocUnsafe(end - begin);
  let length = 0;
  while (length < bytes.length) {
    const count = readSync(descriptor, bytes, length, bytes.length - length, begin + length);
    if (count === 0) break;
    length += count;
  }
  return bytes.subarray(0, length);
}

/** The lines that end with a line feed, up to byte `limit`; by default from the first one on. */
export function* readLines(
  descriptor: number,
  limit: number,
  piece = pieceBytes,
  first: Pick<Line, "number" | "begin"> = { number: 1, begin: 0 },
): Generator<Line> {
  let { number, begin } = first;
  let carried: Buffer[] = [];
  let carriedBytes = 0;
  const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(piece, limit - begin)));
  for (let at = begin; at < limit; ) {
    const bytes = readRange(descriptor, at, Math.min(limit, at + piece), buffer);
    if (bytes.length === 0) return;
    let from = 0;
    for (let to = bytes.indexOf(lineFeed); to >= 0; to = bytes.indexOf(lineFeed, from)) {
      const end = at + to + 1;
      const rest = bytes.subarray(from, to);
      const isLine = carriedBytes + rest.length <= longestLine;
      const whole = carried.length === 0 ? rest : Buffer.concat([...carried, rest]);
      yield { number, begin, end, bytes: isLine ? whole : undefined };
      carried = [];
      carriedBytes = 0;
      number++;
      begin = end;
      from = to + 1;
    }
    const rest = bytes.subarray(from);
    carriedBytes += rest.length;
    if (carriedBytes <= longestLine) carried.push(Buffer.from(rest));
    else carried = [];
    at += bytes.length;
  }
}

/**
 * The end of the last line that `isWhole` accepts, 0 where there is none. Reads from behind, and no further than it must.
 *
 * @param size of the file
 */
export function lastWholeLine(
  descriptor: number,
  size: number,
  isWhole: (bytes: Buffer) => boolean,
  piece = pieceBytes,
): number {
  let window: { begin: number; bytes: Buffer } = { begin: size, bytes: Buffer.alloc(0) };
  // One past the last line feed before `end`.
  const lineBegin = (end: number): number => {
    for (let at = end; at > 0; at = window.begin) {
      if (at <= window.begin || at > window.begin + window.bytes.length) {
        const begin = Math.max(0, at - piece);
        window = { begin, bytes: readRange(descriptor, begin, at) };
      }
      const index = window.bytes.lastIndexOf(lineFeed, at - window.begin - 1);
      if (index >= 0) return window.begin + index + 1;
    }
    return 0;
  };
  let end = lineBegin(size);
  while (end > 0) {
    const begin = lineBegin(end - 1);
    const length = end - 1 - begin;
    if (length > 0 && length <= longestLine && isWhole(readRange(descriptor, begin, end - 1))) return end;
    end = begin;
  }
  return 0;
}
