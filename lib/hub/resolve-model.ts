import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { SpaError } from "../errors.ts";
import { CachedRepository, isCommit } from "./cache.ts";
import type { ResolveOptions } from "./fetch-model.ts";
import { offlineHint } from "./hub-error.ts";
import { cacheOf, hubSettings } from "./settings.ts";

export type { ResolveOptions } from "./fetch-model.ts";

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
  const { revision = "main", weights = true } = options;
  checkRevision(revision);
  const settings = options.settings ?? hubSettings();
  const repository = new CachedRepository(cacheOf(settings), source);
  const cached = repository.commitOf(revision);
  const isWhole = cached !== undefined && repository.missing(cached, weights).length === 0;
  const found = (commit: string) => ({ folder: repository.snapshot(commit), commit });
  if (isWhole && (settings.offline || isCommit(revision))) return found(cached);
  if (settings.offline) throw notInCache(source, revision, repository, weights);

  // The network's libraries are loaded only where there is something to ask.
  const { fetchModel } = await import("./fetch-model.ts");
  const commit = await fetchModel(
    { id: source, revision, repository, weights },
    isWhole ? cached : undefined,
    {
      ...options,
      settings,
    },
  );
  return found(commit);
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
