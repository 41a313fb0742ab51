import { z } from "zod";
import { JsonLines } from "../files/json-lines.ts";

const rowSchema: z.ZodType<MetricsRow> = z
  .object({ stage: z.string(), step: z.int() })
  .catchall(z.union([z.number(), z.string(), z.boolean(), z.null()]));

/** One line of metrics.jsonl: which stage and step it speaks of, and the figures (docs/metrics.md explains each). */
export interface MetricsRow {
  stage: string;
  step: number;
  [metric: string]: number | string | boolean | null;
}

/** What is appended: figures that do not apply may be undefined or NaN and are left out. */
export interface MetricsEntry {
  stage: string;
  step: number;
  [metric: string]: number | string | boolean | null | undefined;
}

/** A value as it is logged. Nine digits hold every float32 exactly, and keep the lines short. */
function rounded(value: MetricsEntry[string]): MetricsEntry[string] {
  return typeof value === "number" && Number.isFinite(value) && !Number.isInteger(value)
    ? Number(value.toPrecision(9))
    : value;
}

function applies(value: MetricsEntry[string]): boolean {
  return value !== undefined && !Number.isNaN(value);
}

/** The run's metrics.jsonl. */
export class MetricsLog {
  readonly #lines: JsonLines<MetricsRow>;

  constructor(path: string) {
    this.#lines = new JsonLines(path, rowSchema);
  }

  get path(): string {
    return this.#lines.path;
  }

  /** @returns the row as it is logged */
  append(entry: MetricsEntry): MetricsRow {
    const values = Object.entries(entry).filter(([, value]) => applies(value));
    const row = Object.fromEntries(values.map(([name, value]) => [name, rounded(value)])) as MetricsRow;
    this.#lines.append(row);
    return row;
  }

  /** Drops what `stage` logged after `step`; -1 drops all of the stage's rows. */
  truncateAfter(stage: string, step: number): void {
    this.#lines.filter((row) => row.stage !== stage || row.step <= step);
  }

  /** One row after another: the file may be larger than memory. */
  *rows(): Generator<MetricsRow> {
    for (const { row } of this.#lines.entries()) yield row;
  }

  read(): MetricsRow[] {
    return this.#lines.read();
  }

  /** See {@link JsonLines.repair}. */
  repair(): void {
    this.#lines.repair();
  }

  sync(): void {
    this.#lines.sync();
  }

  close(): void {
    this.#lines.close();
  }
}
