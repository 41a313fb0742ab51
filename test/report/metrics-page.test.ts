import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../lib/package.ts";
import { chartGroups } from "../../lib/report/metric-catalog.ts";

test("docs/metrics.md explains every metric that the report draws", () => {
  const page = readFileSync(join(packageRoot(), "docs", "metrics.md"), "utf8");
  const metrics = chartGroups.flatMap(({ charts, more }) =>
    [...charts, ...more].flatMap((chart) => Object.keys(chart.metrics)),
  );
  const explained = (metric: string) =>
    page.includes(`\`${metric}\``) || page.includes(`\`${metric.replace(/^validation_/, "")}\``);
  expect(metrics.length).toBeGreaterThan(20);
  expect(metrics.filter((metric) => !explained(metric))).toEqual([]);
});
