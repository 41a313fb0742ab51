import { SpaError, type SpaErrorCode } from "../errors.ts";

/** Exit codes of `spa` with their meanings, for `--help` and the documentation. */
export const exitCodes: readonly [code: number, meaning: string][] = [
  [0, "success"],
  [1, "unexpected failure (a defect: please report it)"],
  [2, "wrong usage: unknown command, preset, setting, environment or level; wrong value"],
  [3, "not ready: native addon, libtorch or device missing"],
  [4, "a checkpoint, tokenizer or run folder is broken, of another version, or in use"],
  [
    5,
    "out of disk, memory or capacity; a file that cannot be read or written; a loss that is not finite; a gate that is closed",
  ],
  [6, "a model could not be fetched: no network, no permission, or the download broke off"],
  [130, "interrupted (Ctrl-C)"],
  [143, "ended by kill (SIGTERM); 129 where the terminal was closed"],
];

const byCode: Record<SpaErrorCode, number> = {
  ABORTED: 130,
  ADDON_MISSING: 3,
  BAD_ADAPTER: 4,
  BAD_ARGUMENT: 2,
  BAD_CHECKPOINT: 4,
  BAD_CONFIG: 2,
  BAD_ENVIRONMENT: 2,
  BAD_LEVEL: 2,
  BAD_TOKENIZER: 4,
  CAPACITY: 5,
  DISK_FULL: 5,
  DISPOSED: 1,
  EPISODE_OVER: 1,
  FILE_FAILED: 5,
  HUB_FAILED: 6,
  HUB_NOT_FOUND: 2,
  HUB_OFFLINE: 6,
  HUB_UNAUTHORIZED: 6,
  INTERNAL: 1,
  NOT_FINITE: 5,
  OUT_OF_MEMORY: 5,
  RUN_LOCKED: 4,
  RUN_VERSION: 4,
  STALE_CACHE: 1,
  UNKNOWN_NAME: 2,
  UNSUPPORTED: 3,
  UNTRUSTED: 2,
};

/** The exit code that an error leads to. */
export function exitCodeOf(error: unknown): number {
  return error instanceof SpaError ? byCode[error.code] : 1;
}
