import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { configurationDocument, documentFile } from "../../lib/cli/document.ts";
import { withMetricTables } from "../../lib/cli/metric-tables.ts";
import { settings } from "../../lib/config/allowed-values.ts";
import { configSchema } from "../../lib/config/schema.ts";
import { catalogue } from "../../lib/metrics/catalogue.ts";

test("docs/configuration.md is what the schema says (npm run docs writes it)", () => {
  expect(readFileSync(documentFile("configuration.md"), "utf8")).toBe(configurationDocument());
});

test("the tables of docs/metrics.md are what the catalogue says (npm run docs writes them)", () => {
  const page = readFileSync(documentFile("metrics.md"), "utf8");
  expect(withMetricTables(page)).toBe(page);
  for (const [table, metrics] of Object.entries(catalogue)) {
    const [, text] = page.split(`<!-- table: ${table} -->\n`);
    const rows = text.split("\n<!-- end of table -->")[0].split("\n").slice(2);
    expect(rows.map((row) => row.split("`")[1])).toEqual(metrics.map(({ name }) => name));
  }
});

test("every setting is described, with its default and what is allowed", () => {
  const text = configurationDocument();
  for (const [path] of settings()) {
    const [, standard, allowed, meaning] =
      new RegExp(`^\\| \`${path.replaceAll(".", "\\.")}\` \\| (.*?) \\| (.*?) \\| (.*) \\|$`, "m").exec(
        text,
      ) ?? [];
    expect(allowed, path).toBeTruthy();
    expect(meaning, path).toBeTruthy();
    if (!["model.path", "model.run"].includes(path)) expect(standard, path).toBeTruthy();
  }
});

test("the table's defaults are those of an empty configuration", () => {
  const text = configurationDocument();
  expect(text).toContain(`| \`ppo.loss.clipHigh\` | \`${configSchema.parse({}).ppo.loss.clipHigh}\` |`);
  expect(text).toContain('| `arms` | `["spa","control"]` |');
});
