import { createHash, type Hash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Response } from "undici";
import { SpaError } from "../errors.ts";
import { syncFolder } from "../files/atomic-file.ts";
import { PassingFailure } from "./hub-error.ts";
import type { Attempts, HubClient } from "./hub-fetch.ts";

/** A file of a repository, as the Hub lists it. */
export interface RemoteFile {
  path: string;
  size: number;
  /** The blob's name: sha256 of an LFS file, git's sha1 (of header and content) of another. */
  etag: string;
  isLfs: boolean;
}

export interface BlobTarget {
  url: string;
  blob: string;
  /** Where it grows; what is there already is gone on from. */
  partial: string;
}

export interface BlobProgress {
  /** Bytes of the file that are there. */
  onBytes(done: number): void;
  onRetry?: ((reason: string, seconds: number) => void) | undefined;
}

/**
 * Fetches a file into the cache: goes on from what an earlier attempt left, compares the checksum, and only then gives
 * the file its name.
 *
 * @throws SpaError HUB_FAILED, HUB_NOT_FOUND, HUB_UNAUTHORIZED, DISK_FULL, ABORTED; what was fetched stays for the next
 * attempt, but for content with a wrong checksum
 */
export async function downloadBlob(
  client: HubClient,
  file: RemoteFile,
  target: BlobTarget,
  attempts: Attempts,
  progress: BlobProgress,
): Promise<void> {
  let isSecond = false;
  for (;;) {
    try {
      const digest = await client.persist(
        attempts,
        (madeProgress) => fetchRest(client, file, target, progress, madeProgress),
        progress.onRetry,
      );
      if (digest === file.etag) break;
      await rm(target.partial, { force: true });
      if (isSecond) throw wrongChecksum(file, digest, target.url);
      isSecond = true;
      progress.onRetry?.(`${file.path} came with a wrong checksum`, 0);
    } catch (error) {
      throw writeError(error, target.blob);
    }
  }
  await rename(target.partial, target.blob);
  syncFolder(dirname(target.blob));
}

/** Fetches what the partial file lacks. Resolves to the whole file's digest. */
async function fetchRest(
  client: HubClient,
  file: RemoteFile,
  { url, partial }: BlobTarget,
  progress: BlobProgress,
  madeProgress: () => void,
): Promise<string> {
  let begin = existsSync(partial) ? (await stat(partial)).size : 0;
  if (begin > file.size) {
    await rm(partial);
    begin = 0;
  }
  let hash = newHash(file);
  if (begin > 0) for await (const chunk of createReadStream(partial)) hash.update(chunk as Buffer);
  progress.onBytes(begin);
  if (begin < file.size || file.size === 0) {
    const response = await client.fetch(url, {
      headers: { "accept-encoding": "identity", ...(begin > 0 && { range: `bytes=${begin}-` }) },
    });
    const startsAgain = begin > 0 && !goesOnFrom(response, begin);
    if (startsAgain) {
      hash = newHash(file);
      begin = 0;
    }
    const handle = await open(partial, startsAgain ? "w" : "a");
    try {
      await append(client, file, response, { handle, hash, begin, progress, madeProgress });
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
  return hash.digest("hex");
}

/** Whether the answer holds the rest that was asked for; a server may send everything instead. */
function goesOnFrom(response: Response, begin: number): boolean {
  if (response.status !== 206) return false;
  return response.headers.get("content-range")?.startsWith(`bytes ${begin}-`) === true;
}

interface Sink {
  handle: FileHandle;
  hash: Hash;
  begin: number;
  progress: BlobProgress;
  madeProgress(): void;
}

async function append(client: HubClient, file: RemoteFile, response: Response, sink: Sink): Promise<void> {
  let done = sink.begin;
  const { status, body } = response;
  if (body === null || status === 416)
    throw new PassingFailure(`the server sent nothing of ${file.path} (${status})`);
  const reader = body.getReader();
  for (;;) {
    const next = await reader.read().catch((error: unknown) => {
      throw client.failure(error);
    });
    if (next.done) break;
    const chunk = next.value as Uint8Array;
    done += chunk.length;
    if (done > file.size) {
      await reader.cancel();
      throw new SpaError(
        "HUB_FAILED",
        `${file.path} is longer than the ${file.size} bytes that the Hub lists`,
        {
          hint: "a proxy or mirror answers with something else; check HF_ENDPOINT and HTTPS_PROXY",
        },
      );
    }
    sink.hash.update(chunk);
    await writeAll(sink.handle, chunk);
    sink.madeProgress();
    sink.progress.onBytes(done);
  }
  if (done < file.size)
    throw new PassingFailure(`${file.path} broke off after ${done} of ${file.size} bytes`);
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  let offset = 0;
  while (offset < chunk.length) offset += (await handle.write(chunk, offset)).bytesWritten;
}

/** Git names content by the sha1 of `blob <size>`, a zero byte and the content. */
function newHash({ isLfs, size }: RemoteFile): Hash {
  return isLfs ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}

function wrongChecksum(file: RemoteFile, digest: string, url: string): SpaError {
  return new SpaError(
    "HUB_FAILED",
    `${file.path} came twice with a wrong checksum: ${digest}, the Hub lists ${file.etag}`,
    { hint: `something between here and the Hub changes files (a proxy, a mirror); look at ${url}` },
  );
}

function writeError(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return noSpace(`${path} could not be written: the disk is full`, error);
}

/** The error for want of space in the cache. */
export function noSpace(message: string, cause?: unknown): SpaError {
  return new SpaError("DISK_FULL", message, {
    hint: "free some space, or set HF_HOME to a folder on another disk; what is there already is not fetched twice",
    ...(cause !== undefined && { cause }),
  });
}
