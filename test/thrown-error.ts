import { SpaError } from "../lib/errors.ts";

/** The SpaError that `action` throws; anything else that happens fails the test. */
export function errorOf(action: () => unknown): SpaError {
  try {
    action();
  } catch (error) {
    if (error instanceof SpaError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** The SpaError with which `promise` rejects; anything else that happens fails the test. */
export async function rejection(promise: Promise<unknown>): Promise<SpaError> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  if (outcome === undefined) throw new Error("the promise was fulfilled");
  if (outcome.error instanceof SpaError) return outcome.error;
  throw outcome.error;
}
