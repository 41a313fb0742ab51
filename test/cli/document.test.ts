import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { configurationDocument, documentFile } from "../../lib/cli/document.ts";
import { settings } from "../../lib/config/allowed-values.ts";
import { configSchema } from "../../lib/config/schema.ts";

test("docs/configuration.md is what the schema says (npm run docs writes it)", () => {
  expect(readFileSync(documentFile(), "utf8")).toBe(configurationDocument());
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
    if (path !== "model.path") expect(standard, path).toBeTruthy();
  }
});

test("the table's defaults are those of an empty configuration", () => {
  const text = configurationDocument();
  expect(text).toContain(`| \`ppo.loss.clipHigh\` | \`${configSchema.parse({}).ppo.loss.clipHigh}\` |`);
  expect(text).toContain('| `arms` | `["spa","control"]` |');
});
