import { createHash } from "node:crypto";
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { z } from "zod";

/** What a file is recognised by when it is read back. */
export interface FileDigest {
  bytes: number;
  /** In hexadecimal digits. */
  sha256: string;
}

export const fileDigestSchema = z.object({ bytes: z.int().min(0), sha256: z.string() });

/** Bytes that are read at a time: the event loop is held up for about a millisecond. */
const CHUNK = 2 ** 20;

/** Digests a file of any size, or its first `bytes` bytes. */
export async function digestFile(file: string, bytes?: number): Promise<FileDigest> {
  const hash = createHash("sha256");
  let length = 0;
  if (bytes !== 0) {
    const range = bytes === undefined ? {} : { end: bytes - 1 };
    for await (const chunk of createReadStream(file, { highWaterMark: CHUNK, ...range })) {
      hash.update(chunk);
      length += chunk.length;
    }
  }
  return { bytes: length, sha256: hash.digest("hex") };
}

/** {@link digestFile} at once, for small files. */
export function digestSmallFile(file: string): FileDigest {
  const content = readFileSync(file);
  return { bytes: content.length, sha256: createHash("sha256").update(content).digest("hex") };
}

/** What is wrong with a file that should have the digest `expected`, or undefined where nothing is. */
export async function fileDamage(file: string, expected: FileDigest): Promise<string | undefined> {
  return sizeDamage(file, expected) ?? digestDamage(await digestFile(file), expected);
}

/** As {@link fileDamage} for the beginning of a file that has grown since. */
export async function beginningDamage(file: string, expected: FileDigest): Promise<string | undefined> {
  const bytes = existsSync(file) ? statSync(file).size : 0;
  if (bytes < expected.bytes) return `has ${bytes} bytes, and had ${expected.bytes}`;
  return digestDamage(await digestFile(file, expected.bytes), expected);
}

/** What the length alone tells. */
export function sizeDamage(file: string, { bytes }: { bytes: number }): string | undefined {
  if (!existsSync(file)) return "is missing";
  const found = statSync(file).size;
  return found === bytes ? undefined : `has ${found} bytes instead of ${bytes}`;
}

export function digestDamage(found: FileDigest, expected: FileDigest): string | undefined {
  if (found.sha256 === expected.sha256) return undefined;
  return `is not what was saved: its sha256 is ${short(found)} instead of ${short(expected)}`;
}

function short({ sha256 }: FileDigest): string {
  return `${sha256.slice(0, 12)}…`;
}
