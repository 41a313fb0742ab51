import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { SpaError } from "../errors.ts";
import { CachedRepository, isCommit } from "./cache.ts";
import { type DownloadProgress, downloadSnapshot, remoteCommit } from "./download-snapshot.ts";
import { PassingFailure } from "./hub-error.ts";
import { type Attempts, defaultAttempts, HubClient } from "./hub-fetch.ts";
import { type HubSettings, hubSettings } from "./settings.ts";

export interface ResolveOptions {
  /** Branch, tag or commit of a Hub id; `main` by default. */
  revision?: string | undefined;
  /** false: configuration and tokenizer are enough. */
  weights?: boolean | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: DownloadProgress) => void) | undefined;
  /** Told in a sentence of what the user may want to know: another attempt, another process that downloads. */
  onNote?: ((text: string) => void) | undefined;
  /** By default from the environment. */
  settings?: HubSettings | undefined;
  /** How stubbornly requests are made again. */
  attempts?: Attempts | undefined;
}

/** Where a model's files are. */
export interface ResolvedModel {
  /** Absolute. */
  folder: string;
  /** What the revision stood for; null for a folder. */
  commit: string | null;
}

const idPattern = /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/;

/** Whether a model is named by a path (`./folder`, `/folder`, or one that exists) rather than by a Hub id. */
export function isModelFolder(source: string): boolean {
  return !idPattern.test(source) || (existsSync(source) && statSync(source).isDirectory());
}

/**
 * The folder of a model's files. A folder is taken as it is. A Hub id is looked for in Hugging Face's cache, and what
 * is not there is downloaded into it:
 *
 * - a commit that is in the cache whole is used without the network;
 * - a branch or tag is looked up at the Hub; where the Hub cannot be reached (or refuses), the commit that it stood for
 *   when it was last looked up is used, if it is in the cache whole;
 * - with HF_HUB_OFFLINE set nothing is looked up.
 *
 * @throws SpaError BAD_CHECKPOINT (no such folder), HUB_NOT_FOUND, HUB_UNAUTHORIZED, HUB_OFFLINE, HUB_FAILED, DISK_FULL,
 * ABORTED, UNSUPPORTED (no safetensors)
 */
export async function resolveModel(source: string, options: ResolveOptions = {}): Promise<ResolvedModel> {
  if (isModelFolder(source)) return { folder: existingFolder(source), commit: null };
  const { revision = "main", weights = true, signal, attempts = defaultAttempts } = options;
  checkRevision(revision);
  const settings = options.settings ?? hubSettings();
  const repository = new CachedRepository(settings.cacheFolder, source);
  const cached = repository.commitOf(revision);
  const isWhole = cached !== undefined && repository.missing(cached, weights).length === 0;
  const found = (commit: string) => ({ folder: repository.snapshot(commit), commit });
  if (isWhole && (settings.offline || isCommit(revision))) return found(cached);
  if (settings.offline) throw notInCache(source, revision, repository, weights);

  await using client = new HubClient(settings, { id: source, revision }, signal);
  let commit: string;
  try {
    // With a copy at hand nobody waits for a network that is down, and without not for long: nothing is under way yet.
    const patience = { ...attempts, count: isWhole ? 1 : Math.min(attempts.count, lookups) };
    commit = await client.persist(patience, () => remoteCommit(client, source, revision), retryNote(options));
  } catch (error) {
    if (!isWhole || !mayUseCache(error)) throw unreachable(error, source);
    options.onNote?.(`${(error as Error).message}; using ${cached} from the cache`);
    return found(cached);
  }
  try {
    if (repository.missing(commit, weights).length > 0) {
      await downloadSnapshot(client, repository, source, commit, { ...options, weights, attempts });
    }
    // A ref must lead to a whole snapshot where there is one.
    if (weights || !isWhole) repository.setRef(revision, commit);
  } catch (error) {
    throw unwritable(error, settings.cacheFolder);
  }
  return found(commit);
}

/** How often a revision is asked for. */
const lookups = 4;

/** An error of the file system, as one about the cache. */
function unwritable(error: unknown, folder: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof SpaError || !["EACCES", "EEXIST", "ENOTDIR", "EPERM", "EROFS"].includes(code ?? "")) {
    return error;
  }
  return new SpaError("HUB_FAILED", `the cache ${folder} cannot be written: ${message}`, {
    hint: "set HF_HOME to a folder in which you may write",
    cause: error,
  });
}

function retryNote({ onNote }: ResolveOptions): ((reason: string, seconds: number) => void) | undefined {
  return onNote && ((reason, seconds) => onNote(`${reason}; again in ${seconds} s`));
}

function existingFolder(source: string): string {
  const folder = resolve(source);
  if (existsSync(folder) && statSync(folder).isDirectory()) return folder;
  throw new SpaError("BAD_CHECKPOINT", `there is no folder ${folder}`, {
    hint: "a model is a folder of Hugging Face files, or a Hub id like Qwen/Qwen2.5-0.5B-Instruct",
  });
}

/** A revision becomes a file name in refs/. */
function checkRevision(revision: string): void {
  if (/^[\w][\w./-]*$/.test(revision) && !revision.split("/").includes("..")) return;
  throw new SpaError("HUB_NOT_FOUND", `"${revision}" cannot be a revision`, {
    hint: "a revision is a branch, tag or commit",
  });
}

/** What is in the cache serves when the Hub does not answer or no longer gives access; a wrong revision stays wrong. */
function mayUseCache(error: unknown): boolean {
  return error instanceof SpaError && (error.code === "HUB_FAILED" || error.code === "HUB_UNAUTHORIZED");
}

/** No connection at all, and nothing in the cache. */
function unreachable(error: unknown, id: string): unknown {
  if (!(error instanceof SpaError) || error.code !== "HUB_FAILED") return error;
  const failure = error.cause;
  const isConnection = failure instanceof PassingFailure && failure.cause !== undefined;
  if (!isConnection) return error;
  return new SpaError(
    "HUB_OFFLINE",
    `${id} is not in the cache, and the Hub cannot be reached: ${failure.message}`,
    {
      hint: offlineHint(id),
      cause: error,
    },
  );
}

function notInCache(id: string, revision: string, repository: CachedRepository, weights: boolean): SpaError {
  const commit = repository.commitOf(revision);
  const missing = commit === undefined ? [] : repository.missing(commit, weights);
  const why =
    existsSync(repository.folder) && missing.length > 0
      ? `of ${id} (${revision}) the cache lacks ${missing.join(", ")}`
      : `${id} (${revision}) is not in the cache ${repository.folder}`;
  return new SpaError("HUB_OFFLINE", `${why}, and HF_HUB_OFFLINE forbids to fetch it`, {
    hint: offlineHint(id),
  });
}

function offlineHint(id: string): string {
  return `where there is a network: spa download ${id} (or hf download ${id}), then copy the cache folder here, or give a folder`;
}
