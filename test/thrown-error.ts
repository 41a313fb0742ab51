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
