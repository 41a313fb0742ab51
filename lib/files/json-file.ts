import { readFile } from "node:fs/promises";
import { SpaError } from "../errors.ts";

/**
 * The object that a checkpoint's JSON file holds.
 *
 * @throws SpaError `BAD_CHECKPOINT` where it is missing, not JSON or no object; `hint` says what the folder should hold
 */
export async function readJsonObject(file: string, hint: string): Promise<Record<string, unknown>> {
  const broken = (what: string, cause?: unknown) =>
    new SpaError("BAD_CHECKPOINT", `${file}: ${what}`, { hint, cause });
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") throw broken("no such file", error);
    throw broken(
      error instanceof SyntaxError ? `not JSON: ${message}` : `could not be read: ${message}`,
      error,
    );
  }
  if (typeof json === "object" && json !== null && !Array.isArray(json))
    return json as Record<string, unknown>;
  throw broken("must hold a JSON object");
}
