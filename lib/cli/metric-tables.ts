import { type CatalogueTable, catalogue } from "../metrics/catalogue.ts";
import type { Metric } from "../metrics/metric.ts";
import type { StepMetric } from "../metrics/step-metrics.ts";

type Row = Metric & Pick<StepMetric, "over">;

/** A column of a table: its heading, and what stands in a metric's row. */
const columns: readonly [heading: string, cell: (metric: Row) => string | undefined][] = [
  ["metric", ({ name }) => `\`${name}\``],
  ["over updates", ({ over }) => over],
  ["formula", ({ meaning }) => meaning],
  ["healthy", ({ healthy }) => healthy],
];

/** The table of some metrics, without columns that would be empty. */
function tableOf(metrics: readonly Row[]): string {
  const used = columns.filter(([, cell]) => metrics.some((metric) => cell(metric) !== undefined));
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const heading = line(used.map(([text]) => text));
  const rows = metrics.map((metric) => line(used.map(([, cell]) => cell(metric) ?? "")));
  return [heading, `|${"---|".repeat(used.length)}`, ...rows].join("\n");
}

/** docs/metrics.md with its tables as the catalogue says: each stands between marks that name it. */
export function withMetricTables(page: string): string {
  return page.replaceAll(
    /(<!-- table: ([a-z-]+) -->\n).*?(\n<!-- end of table -->)/gs,
    (_, begin: string, name: CatalogueTable, end: string) => `${begin}${tableOf(catalogue[name])}${end}`,
  );
}
