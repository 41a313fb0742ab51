/** Every error code that the package throws. A code is stable: callers may switch on it. */
export type SpaErrorCode =
  | "ABORTED" // an AbortSignal fired
  | "ADDON_MISSING" // the native addon or libtorch could not be loaded
  | "BAD_ADAPTER" // an adapter belongs to another model, or uses a feature of PEFT that the engine lacks
  | "BAD_ARGUMENT" // an argument of a library call has the wrong type, range or shape
  | "BAD_CHECKPOINT" // a checkpoint file is missing, truncated, foreign or does not fit its config
  | "BAD_CONFIG" // a preset, YAML file or key=value override is wrong
  | "BAD_ENVIRONMENT" // a user's environment breaks the interface
  | "BAD_LEVEL" // a level text is malformed or unsolvable
  | "BAD_TOKENIZER" // tokenizer files are missing, broken or do not fit the model
  | "CAPACITY" // a session, slot or context limit is exceeded
  | "DISK_FULL" // a file could not be written for want of space
  | "DISPOSED" // an object was used after dispose()
  | "EPISODE_OVER" // step() on a finished episode
  | "FILE_FAILED" // the system refused to read or write a file or folder: permission, kind, name, device
  | "HUB_FAILED" // a download broke off, or came with a wrong checksum, after several attempts
  | "HUB_NOT_FOUND" // the Hub has no such model or revision
  | "HUB_OFFLINE" // a model is not in the cache, and the network is switched off or cannot be reached
  | "HUB_UNAUTHORIZED" // a model is gated or private
  | "INTERNAL" // a defect of this package
  | "NOT_FINITE" // a loss, gradient, weight or log-prob is NaN or infinite
  | "OUT_OF_MEMORY" // the device has too little memory
  | "RUN_LOCKED" // another process works in this run folder
  | "RUN_VERSION" // a run folder written by another version of the format
  | "STALE_CACHE" // a session was used after its model's weights changed
  | "UNKNOWN_NAME" // an unknown preset, environment, option, action or command
  | "UNTRUSTED" // a run folder names an environment's module that the user has not named
  | "UNSUPPORTED"; // a model, dtype or device that the engine does not handle

/**
 * The one error class of the package.
 *
 * `message` says what was wrong and where (file, key, level, turn); `hint` says what to do about it.
 */
export class SpaError extends Error {
  readonly code: SpaErrorCode;
  readonly hint: string | undefined;
  /** The run folder that was worked in; it can be gone on with once the cause is removed. */
  folder: string | undefined;

  constructor(code: SpaErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "SpaError";
    this.code = code;
    this.hint = options.hint;
  }
}

/** The first failure, where disposing of things failed after it. */
export function firstFailure(error: unknown): unknown {
  return error instanceof Error && "suppressed" in error ? firstFailure(error.suppressed) : error;
}

/** Throws the `ABORTED` error if `signal` has fired; for loops that work in steps. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new SpaError("ABORTED", "the operation was aborted", { cause: signal.reason });
  }
}

/**
 * {@link throwIfAborted} for work that never waits for the system: signals (Ctrl-C, timers, requests) arrive between turns of
 * the event loop, so one is let pass first.
 */
export async function heedSignal(signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return;
  if (!signal.aborted) await new Promise((resolve) => setImmediate(resolve));
  throwIfAborted(signal);
}
