// Writes docs/configuration.md from the schema, the presets and the exit codes, and the tables of docs/metrics.md from
// the catalogue of metrics: `node dist/lib/cli/document.js`.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  allowedValues,
  alternatives,
  type SchemaNode,
  schemaRoot,
  settings,
} from "../config/allowed-values.ts";
import {
  defaultPreset,
  llmPresetFile,
  llmPresets,
  presetFiles,
  presetNames,
  presetSummary,
} from "../config/presets.ts";
import { configSchema } from "../config/schema.ts";
import { packageRoot } from "../package.ts";
import { exitCodes } from "./exit-codes.ts";
import { withMetricTables } from "./metric-tables.ts";

/** A document's path in the package. */
export const documentFile = (name: "configuration.md" | "metrics.md") => join(packageRoot(), "docs", name);

const introduction = `# Configuration

<!-- Written by lib/cli/document.ts from lib/config/schema.ts and lib/config/sections: \`npm run docs\`. Do not edit by hand. -->

A run is configured by a preset or a YAML file, and by \`key=value\` arguments that lie over it:

    npm run train -- nano-frozen-lake seed=2 ppo.steps=20 "arms=[spa]"
    npm run train -- ./mine.yaml environment.options.size=6

Values are YAML; nested keys are joined by dots; mappings are merged, lists and plain values replaced. A file holds only
what differs from the defaults below, or from a preset or file that it names with \`extends\`:

    extends: nano-frozen-lake
    environment:
      options: { size: 5 }

Another \`environment.name\` drops the former environment's options, another \`model.kind\` the former model's fields.
\`spa presets <name>\` prints a preset with all its settings, \`--dry-run\` what a command would run with. The resolved
configuration is kept in the run folder's config.yaml, and \`--resume\` uses that. A run folder from somebody else may name an
environment module: it is executed only if you have named that file before, or add \`--trust\`.
`;

/** Text in a table's cell. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

function code(value: unknown): string {
  return `\`${JSON.stringify(value)}\``;
}

/** The description of a setting that stands in one alternative or several. */
function description(node: SchemaNode): string {
  return (
    node.description ??
    [...new Set(alternatives(node).map((part) => part.description))].filter(Boolean).join("; ")
  );
}

function settingRow(path: string, node: SchemaNode, defaults: unknown): string {
  const value = path
    .split(".")
    .reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], defaults);
  const standard = value === undefined ? node.default : value;
  return `| \`${path}\` | ${cell(standard === undefined ? "" : code(standard))} | ${cell(allowedValues(node))} | ${cell(description(node))} |`;
}

function table(rows: string[]): string {
  return ["| Setting | Default | Allowed | Meaning |", "|---|---|---|---|", ...rows].join("\n");
}

/** Sections by top-level key; plain top-level settings come first, under a heading of their own. */
function sections(): string {
  const defaults = configSchema.parse({});
  const bySection = new Map<string, string[]>([["Run", []]]);
  for (const [path, node] of settings()) {
    const section = path.includes(".") ? path.split(".")[0] : "Run";
    const rows = bySection.get(section) ?? [];
    rows.push(settingRow(path, node, defaults));
    bySection.set(section, rows);
  }
  const parts = [...bySection].map(([section, rows]) => {
    const about = schemaRoot.properties?.[section]?.description;
    return `## ${section}\n${about ? `\n${about}\n` : ""}\n${table(rows)}\n`;
  });
  return parts.join("\n");
}

function presets(): string {
  const { models, environments } = llmPresets();
  const isPair = (name: string) => models.some((model) => name.startsWith(`${model}-`));
  const rows = presetNames()
    .filter((name) => !isPair(name))
    .map((name) => {
      const mark = name === defaultPreset ? " (default)" : "";
      return `| \`${name}\`${mark} | ${cell(presetSummary(name))} |`;
    });
  const named = (names: string[]) => names.map((name) => `\`${name}\``).join(", ");
  const yaml = (file: string) => `\`\`\`yaml\n${readFileSync(file, "utf8").trim()}\n\`\`\`\n`;
  const environmentFiles = environments.map((name) => presetFiles(`${models[0]}-${name}`).at(-1) as string);
  return `## Presets

| Preset | What it trains |
|---|---|
${rows.join("\n")}
| \`<model>-<environment>\` | an LLM, with the settings of the paper and its code |

An LLM preset's name is one of ${named(models)}, a hyphen, and one of ${named(environments)}:
\`qwen2.5-1.5b-sokoban\`. Another model may be put in its place: \`qwen2.5-1.5b-sokoban model=Qwen/Qwen3-1.7B\`.
All of them share these settings; the comments name the sources.

${yaml(llmPresetFile())}
The environments:

${environmentFiles.map(yaml).join("\n")}`;
}

function exitCodeTable(): string {
  const rows = exitCodes.map(([number, meaning]) => `| ${number} | ${meaning} |`);
  return `## Exit codes of \`spa\`\n\n| Code | Meaning |\n|---|---|\n${rows.join("\n")}\n`;
}

/** The text of docs/configuration.md. */
export function configurationDocument(): string {
  return [introduction, presets(), sections(), exitCodeTable()].join("\n");
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(documentFile("configuration.md"), configurationDocument());
  const metrics = documentFile("metrics.md");
  writeFileSync(metrics, withMetricTables(readFileSync(metrics, "utf8")));
}
