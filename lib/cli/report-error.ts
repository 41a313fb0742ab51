import { SpaError } from "../errors.ts";
import { visibleText } from "../visible-text.ts";

/**
 * An error as the user reads it: `error CODE: message`, then `hint: …`. With the variable SPA_DEBUG set, the stack
 * traces of the error and its causes follow.
 */
export function describeError(error: unknown, debug = process.env.SPA_DEBUG !== undefined): string {
  const { code, message, hint, stack } = parts(error);
  const lines = [`error ${code}: ${message}`];
  if (hint) lines.push(`hint: ${hint}`);
  if (debug && stack) lines.push("", stack);
  if (debug) {
    for (let cause = causeOf(error); cause !== undefined; cause = causeOf(cause)) {
      lines.push(`caused by ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}`);
    }
  }
  return visibleText(lines.join("\n"));
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}

function parts(error: unknown): {
  code: string;
  message: string;
  hint?: string | undefined;
  stack?: string | undefined;
} {
  if (error instanceof SpaError) return error;
  const hint = "SPA_DEBUG=1 shows where it happened";
  if (!(error instanceof Error)) return { code: "INTERNAL", message: String(error), hint };
  return { code: "INTERNAL", message: error.message, hint, stack: error.stack };
}
