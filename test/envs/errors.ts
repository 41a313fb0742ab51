import { SpaError } from "../../lib/errors.ts";

/** The SpaError that `action` throws; fails when it throws nothing or something else. */
export function caught(action: () => unknown): SpaError {
  try {
    action();
  } catch (error) {
    if (error instanceof SpaError) {
      return error;
    }
    throw error;
  }
  throw new Error("no SpaError was thrown");
}
