import { SpaError } from "../errors.ts";
import { fileError } from "../files/file-error.ts";
import type { CachedRepository } from "./cache.ts";
import { noSpace } from "./download-blob.ts";
import { type DownloadProgress, downloadSnapshot, remoteCommit } from "./download-snapshot.ts";
import { offlineHint, PassingFailure } from "./hub-error.ts";
import { type Attempts, defaultAttempts, HubClient } from "./hub-fetch.ts";
import { cacheOf, type HubSettings } from "./settings.ts";

export interface ResolveOptions {
  /** Branch, tag or commit of a Hub id; `main` by default. */
  revision?: string | undefined;
  /** false: configuration and tokenizer are enough. */
  weights?: boolean | undefined;
  /** Looks at configuration and tokenizer in their folder before weights are downloaded; what it throws ends that. */
  beforeWeights?: ((folder: string) => Promise<void>) | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: DownloadProgress) => void) | undefined;
  /** Told in a sentence of what the user may want to know: another attempt, another process that downloads. */
  onNote?: ((text: string) => void) | undefined;
  /** By default from the environment. */
  settings?: HubSettings | undefined;
  /** How stubbornly requests are made again. */
  attempts?: Attempts | undefined;
}

/** What is asked of the Hub. */
export interface WantedModel {
  id: string;
  revision: string;
  repository: CachedRepository;
  /** false: configuration and tokenizer are enough. */
  weights: boolean;
}

/** How often a revision is asked for. */
const lookups = 4;

/**
 * Looks a revision up at the Hub, downloads what the cache lacks, and gives the commit. Where the Hub does not answer or
 * refuses, `whole` serves: the commit that the revision last stood for, if the cache holds it whole.
 *
 * @throws SpaError as {@link resolveModel}
 */
export async function fetchModel(
  { id, revision, repository, weights }: WantedModel,
  whole: string | undefined,
  options: ResolveOptions & { settings: HubSettings },
): Promise<string> {
  const { settings, signal, onNote, attempts = defaultAttempts } = options;
  await using client = new HubClient(settings, { id, revision }, signal);
  let commit: string;
  try {
    // With a copy at hand nobody waits for a network that is down, and without not for long: nothing is under way yet.
    const patience = { ...attempts, count: whole === undefined ? Math.min(attempts.count, lookups) : 1 };
    const onRetry = (reason: string, seconds: number) => onNote?.(`${reason}; again in ${seconds} s`);
    commit = await client.persist(patience, () => remoteCommit(client, id, revision), onRetry);
  } catch (error) {
    if (whole === undefined || !mayUseCache(error)) throw unreachable(error, id);
    onNote?.(`${(error as Error).message}; using ${whole} from the cache`);
    return whole;
  }
  try {
    if (repository.missing(commit, weights).length > 0) {
      await downloadSnapshot(client, repository, id, commit, { ...options, weights, attempts });
    }
    // A ref must lead to a whole snapshot where there is one.
    if (weights || whole === undefined) repository.setRef(revision, commit);
  } catch (error) {
    throw unwritable(error, cacheOf(settings));
  }
  return commit;
}

/** An error of the file system, as one about the cache. */
function unwritable(error: unknown, folder: string): unknown {
  const known = fileError(error);
  if (!(known instanceof SpaError)) return error;
  const { code, message } = known;
  if (code === "DISK_FULL" && known !== error)
    return noSpace(`the disk of the cache is full: ${message}`, error);
  if (code !== "FILE_FAILED") return known;
  return new SpaError("HUB_FAILED", `the cache ${folder} cannot be written: ${message}`, {
    hint: "set HF_HOME to a folder in which you may write",
    cause: error,
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
