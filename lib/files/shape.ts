import { existsSync, readFileSync } from "node:fs";
import type { z } from "zod";
import { SpaError } from "../errors.ts";
import { fileError } from "./file-error.ts";

/** Where something was read, and what to do if it has not the shape that was written. */
export interface ShapeSource {
  file: string;
  /** Of a file of lines, from 1 on. */
  line?: number;
  hint: string;
}

/** @throws SpaError `BAD_CHECKPOINT`, which names file, line and the first field of another shape */
export function checkShape<T>(schema: z.ZodType<T>, value: unknown, { file, line, hint }: ShapeSource): T {
  const checked = schema.safeParse(value);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  const field = issue.path.length > 0 ? issue.path.join(".") : "the content";
  const where = line === undefined ? file : `${file}, line ${line}`;
  throw new SpaError("BAD_CHECKPOINT", `${where}: ${field}: ${issue.message}`, { hint });
}

/** What JSON text holds, checked. @throws SpaError `BAD_CHECKPOINT` */
export function parseShape<T>(schema: z.ZodType<T>, text: string, source: ShapeSource): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const { file, line, hint } = source;
    const where = line === undefined ? file : `${file}, line ${line},`;
    throw new SpaError("BAD_CHECKPOINT", `${where} is not JSON: ${(error as Error).message}`, {
      hint,
      cause: error,
    });
  }
  return checkShape(schema, value, source);
}

/** A JSON file of a run folder, checked; undefined where there is none. @throws SpaError `BAD_CHECKPOINT`, `FILE_FAILED` */
export function readShape<T>(schema: z.ZodType<T>, file: string, hint: string): T | undefined {
  if (!existsSync(file)) return undefined;
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw fileError(error, file, "read");
  }
  return parseShape(schema, text, { file, hint });
}
