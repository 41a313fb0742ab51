import type { NativeCall, NativeProgress } from "../addon/addon.ts";
import { badArgument, show } from "../addon/arguments.ts";
import { SpaError, throwIfAborted } from "../errors.ts";

/** Options that every long call takes. */
export interface LongCall {
  /** Makes the call reject with `ABORTED` at its next opportunity; nothing has changed then. */
  signal?: AbortSignal | undefined;
  /** Told of progress now and then. `done` and `total` count what the call is about: tokens, rows or bytes. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Keys of {@link LongCall}, for checks of unknown keys. */
export const longCallKeys = ["signal", "onProgress"] as const;

/** @throws SpaError `BAD_ARGUMENT` */
export function checkLongCall({ signal, onProgress }: LongCall): void {
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw badArgument(`signal must be an AbortSignal, not ${show(signal)}`);
  }
  if (onProgress !== undefined && typeof onProgress !== "function") {
    throw badArgument(`onProgress must be a function, not ${show(onProgress)}`);
  }
}

/**
 * Starts a native call and ties it to an AbortSignal and a progress callback. An error thrown by the callback aborts
 * the call and becomes its rejection.
 */
export async function run<T>(
  start: (progress: NativeProgress) => NativeCall<T>,
  options: LongCall = {},
): Promise<T> {
  checkLongCall(options);
  const { signal, onProgress } = options;
  throwIfAborted(signal);
  let thrown: { error: unknown } | undefined;
  const progress =
    onProgress &&
    ((done: number, total: number) => {
      if (thrown) return;
      try {
        onProgress(done, total);
      } catch (error) {
        thrown = { error };
        call.abort();
      }
    });
  const call = start(progress);
  const abort = () => call.abort();
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const result = await call.promise;
    if (thrown) throw thrown.error;
    return result;
  } catch (error) {
    if (thrown) throw thrown.error;
    if (signal?.aborted && error instanceof SpaError && error.code === "ABORTED") {
      throw new SpaError("ABORTED", error.message, { cause: signal.reason });
    }
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** Adds where a broken file lies to an error that native code has found in it; other errors stay as they are. */
export function locate(error: unknown, path: string): unknown {
  if (!(error instanceof SpaError) || error.code !== "BAD_CHECKPOINT" || error.message.includes(path))
    return error;
  const hint = error.hint === undefined ? {} : { hint: error.hint };
  return new SpaError("BAD_CHECKPOINT", `${path}: ${error.message}`, { ...hint, cause: error });
}
