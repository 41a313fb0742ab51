import { existsSync, statfsSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { listFiles, modelInfo } from "@huggingface/hub";
import { SpaError } from "../errors.ts";
import { makeFolders } from "../files/folders.ts";
import { acquireLock, lockHolder } from "../files/lock.ts";
import { weightsIndex } from "../formats/safetensors.ts";
import { type CachedRepository, isCommit } from "./cache.ts";
import { downloadBlob, noSpace, type RemoteFile } from "./download-blob.ts";
import type { Attempts, HubClient } from "./hub-fetch.ts";
import { brokenRepository, firstFiles, isPlainPath, templateFolder, weightFiles } from "./wanted-files.ts";

/** How far a download is. */
export interface DownloadProgress {
  /** The file under way. */
  file: string;
  /** Files that are whole, and all that are known to be needed. */
  files: number;
  totalFiles: number;
  /** Bytes that are there, those of earlier attempts and of the cache included. */
  bytes: number;
  totalBytes: number;
}

export interface SnapshotOptions {
  /** Without: only configuration and tokenizer. */
  weights: boolean;
  attempts: Attempts;
  beforeWeights?: ((folder: string) => Promise<void>) | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: DownloadProgress) => void) | undefined;
  onNote?: ((text: string) => void) | undefined;
}

/** The commit that a revision stands for at the Hub now. */
export async function remoteCommit(client: HubClient, id: string, revision: string): Promise<string> {
  return client.ask(async (fetch) => {
    const hubUrl = client.settings.endpoint;
    const { sha } = await modelInfo({ name: id, revision, additionalFields: ["sha"], hubUrl, fetch });
    if (typeof sha === "string" && isCommit(sha)) return sha;
    throw new Error(`no commit of ${id} (${revision})`);
  });
}

/** The files at the top of a repository, and its further chat templates. */
function remoteFiles(client: HubClient, id: string, commit: string): Promise<Map<string, RemoteFile>> {
  return client.ask(async (fetch) => {
    const files = new Map<string, RemoteFile>();
    const repo = { type: "model" as const, name: id };
    const hubUrl = client.settings.endpoint;
    const list = async (folder?: string): Promise<void> => {
      const inFolder = folder === undefined ? {} : { path: folder };
      for await (const entry of listFiles({ repo, revision: commit, hubUrl, fetch, ...inFolder })) {
        const { type, path, size, oid, lfs } = entry;
        if (type === "directory" && path === templateFolder && folder === undefined) await list(path);
        const etag = lfs?.oid ?? oid;
        if (type !== "file" || etag === undefined || !/^[0-9a-f]{40,64}$/.test(etag) || !isPlainPath(path))
          continue;
        files.set(path, { path, size: lfs?.size ?? size, etag, isLfs: lfs !== undefined });
      }
    };
    await list();
    return files;
  });
}

/**
 * Fetches into the cache what a commit's snapshot lacks, file by file, the weights last. One process at a time; others
 * wait for it and then find everything there.
 *
 * @throws SpaError HUB_NOT_FOUND, HUB_UNAUTHORIZED, HUB_FAILED, DISK_FULL, ABORTED, UNSUPPORTED
 */
export async function downloadSnapshot(
  client: HubClient,
  repository: CachedRepository,
  id: string,
  commit: string,
  options: SnapshotOptions,
): Promise<void> {
  using _lock = await waitForLock(client, repository, options);
  if (repository.missing(commit, options.weights).length === 0) return;
  const listed = await client.persist(options.attempts, () => remoteFiles(client, id, commit));
  const paths = new Set(listed.keys());
  const first = filesOf(listed, firstFiles(paths, id, options.weights), id);
  const download = new SnapshotDownload(client, repository, { id, commit }, options);
  // An index must be there before it is known which weights there are; a single file is known at once.
  const hasIndex = paths.has(weightsIndex);
  const known = options.weights && !hasIndex ? filesOf(listed, weightFiles(paths, "", id), id) : [];
  download.plan([...first, ...known]);
  await download.fetch(first);
  if (!options.weights) return;
  await options.beforeWeights?.(repository.snapshot(commit));
  if (!hasIndex) return await download.fetch(known);
  const shards = filesOf(listed, weightFiles(paths, repository.snapshot(commit), id), id);
  download.plan(shards);
  await download.fetch(shards);
}

function filesOf(listed: Map<string, RemoteFile>, paths: readonly string[], id: string): RemoteFile[] {
  return paths.map((path) => {
    const file = listed.get(path);
    if (file) return file;
    throw new SpaError(
      "BAD_CHECKPOINT",
      `the index of ${id} names ${path}, which the repository does not hold`,
      { hint: brokenRepository },
    );
  });
}

/** Milliseconds between two looks at whether the other download has ended. */
const lockInterval = 250;

async function waitForLock(
  client: HubClient,
  { lockFolder }: CachedRepository,
  { signal, onNote }: SnapshotOptions,
): Promise<Disposable> {
  makeFolders(lockFolder);
  for (let told = false; ; told = true) {
    try {
      return acquireLock(lockFolder);
    } catch (error) {
      if (!(error instanceof SpaError) || error.code !== "RUN_LOCKED") throw error;
      const holder = lockHolder(lockFolder);
      if (!told && holder) {
        onNote?.(
          `waiting for process ${holder.pid} on ${holder.host}, which downloads the same model (${lockFolder})`,
        );
      }
      await sleep(lockInterval, undefined, signal && { signal }).catch((reason: unknown) => {
        throw client.failure(reason);
      });
    }
  }
}

class SnapshotDownload {
  readonly #client: HubClient;
  readonly #repository: CachedRepository;
  readonly #model: { id: string; commit: string };
  readonly #options: SnapshotOptions;
  readonly #done = { files: 0, bytes: 0 };
  #total = { files: 0, bytes: 0 };

  constructor(
    client: HubClient,
    repository: CachedRepository,
    model: { id: string; commit: string },
    options: SnapshotOptions,
  ) {
    this.#client = client;
    this.#repository = repository;
    this.#model = model;
    this.#options = options;
  }

  /** Counts these files among those that are needed. @throws SpaError DISK_FULL when there is no room for them */
  plan(files: readonly RemoteFile[]): void {
    const sum = files.reduce((bytes, { size }) => bytes + size, 0);
    this.#total = { files: this.#total.files + files.length, bytes: this.#total.bytes + sum };
    makeFolders(join(this.#repository.folder, "blobs"));
    this.#checkSpace(files);
  }

  /** Fetches planned files one after the other. */
  async fetch(files: readonly RemoteFile[]): Promise<void> {
    for (const file of files) await this.#fetchOne(file);
  }

  async #fetchOne(file: RemoteFile): Promise<void> {
    const { id, commit } = this.#model;
    const { settings } = this.#client;
    const blob = this.#repository.blob(file.etag);
    if (!this.#has(file)) {
      const url = `${settings.endpoint}/${id}/resolve/${commit}/${file.path.split("/").map(encodeURIComponent).join("/")}`;
      const target = { url, blob, partial: this.#repository.partialBlob(file.etag) };
      await downloadBlob(this.#client, file, target, this.#options.attempts, {
        onBytes: (bytes) => this.#report(file, bytes),
        onRetry: (reason, seconds) =>
          this.#options.onNote?.(`${reason}; ${seconds > 0 ? `again in ${seconds} s` : "once more"}`),
      });
    }
    this.#repository.link(commit, file.path, file.etag);
    this.#done.files++;
    this.#done.bytes += file.size;
    this.#report(file, 0);
  }

  #report({ path }: RemoteFile, bytes: number): void {
    this.#options.onProgress?.({
      file: path,
      files: this.#done.files,
      totalFiles: this.#total.files,
      bytes: this.#done.bytes + bytes,
      totalBytes: this.#total.bytes,
    });
  }

  /** Refuses a download for which the disk has too little space, before it begins. */
  #checkSpace(files: readonly RemoteFile[]): void {
    const { folder } = this.#repository;
    const needed = files.reduce((sum, file) => sum + this.#bytesToFetch(file), 0);
    const { bavail, bsize } = statfsSync(folder);
    const free = bavail * bsize;
    if (needed <= free) return;
    const gigabytes = (bytes: number) => `${(bytes / 1e9).toPrecision(3)} GB`;
    throw noSpace(
      `${this.#model.id} needs ${gigabytes(needed)} more, but only ${gigabytes(free)} are free where ${folder} is`,
    );
  }

  /** Whether a blob is there. One of another size was damaged after it got its name, and is fetched again. */
  #has({ etag, size }: RemoteFile): boolean {
    return statSync(this.#repository.blob(etag), { throwIfNoEntry: false })?.size === size;
  }

  #bytesToFetch(file: RemoteFile): number {
    if (this.#has(file)) return 0;
    const { etag, size } = file;
    const partial = this.#repository.partialBlob(etag);
    return size - (existsSync(partial) ? Math.min(size, statSync(partial).size) : 0);
  }
}
