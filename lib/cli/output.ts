// Standard output and error may fail while a command works: a reader that closes the pipe, a full disk behind a redirection, a
// terminal that is gone. No work ends for that. What would be written after the first failure is dropped.

import { getSystemErrorMap } from "node:util";
import { fileError } from "../files/file-error.ts";
import { exitCodeOf } from "./exit-codes.ts";

let outputFailure: unknown;

/** Makes failed writes harmless, and says once on the other stream why one of them falls silent. */
export function guardOutput(): void {
  guard(process.stdout, (error) => {
    outputFailure = error;
    process.stderr.write(silence("standard output", error));
  });
  guard(process.stderr, (error) => process.stdout.write(silence("standard error", error)));
}

/** A command whose output could not be written has failed; a reader that has seen enough (`spa show | head`) is no failure. */
export async function codeWithOutput(code: number): Promise<number> {
  await new Promise<void>((resolve) => process.stdout.write("", () => resolve()));
  return code === 0 && outputFailure !== undefined
    ? exitCodeOf(fileError(outputFailure, "standard output"))
    : code;
}

function silence(name: string, { errno, message }: NodeJS.ErrnoException): string {
  const why = (errno !== undefined && getSystemErrorMap().get(errno)?.[1]) || message;
  return `${name} cannot be written to (${why}): the rest of it is dropped\n`;
}

function guard(stream: NodeJS.WriteStream, tell: (error: NodeJS.ErrnoException) => void): void {
  let failed = false;
  const fail = (error: NodeJS.ErrnoException): void => {
    if (failed) return;
    failed = true;
    if (error.code !== "EPIPE") tell(error);
  };
  const write = stream.write.bind(stream) as (...parts: unknown[]) => boolean;
  stream.on("error", fail);
  stream.write = (...parts: unknown[]): boolean => {
    const done = parts.findLast((part) => typeof part === "function") as
      | ((error?: Error) => void)
      | undefined;
    // Files and terminals fail at once, pipes later.
    try {
      if (!failed) return write(...parts);
    } catch (error) {
      fail(error as NodeJS.ErrnoException);
    }
    if (done) process.nextTick(done);
    return true;
  };
}
