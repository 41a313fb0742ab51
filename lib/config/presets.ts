// The presets that come with the package: files of their own, and for LLMs every model with every environment, so that
// what a model or an environment needs is written once.

import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { SpaError } from "../errors.ts";
import { didYouMean } from "../nearest-name.ts";
import { packageRoot } from "../package.ts";

/** The preset of `spa train` without arguments. */
export const defaultPreset = "nano-frozen-lake";

function folder(...parts: string[]): string {
  return join(packageRoot(), "lib", "config", "presets", ...parts);
}

function namesIn(path: string): string[] {
  return readdirSync(path)
    .filter((file) => file.endsWith(".yaml"))
    .map((file) => basename(file, ".yaml"))
    .sort();
}

/** Models and environments of which every pair is a preset, `<model>-<environment>`. */
export function llmPresets(): { models: string[]; environments: string[] } {
  return { models: namesIn(folder("llm", "models")), environments: namesIn(folder("llm", "environments")) };
}

/** The file that all LLM presets start from. */
export function llmPresetFile(): string {
  return folder("llm", "llm.yaml");
}

/** The names of the presets that come with the package. */
export function presetNames(): string[] {
  const { models, environments } = llmPresets();
  const pairs = models.flatMap((model) => environments.map((environment) => `${model}-${environment}`));
  return [...namesIn(folder()), ...pairs].sort();
}

/** The files of a preset, lowest layer first. @throws SpaError `UNKNOWN_NAME` with the nearest name */
export function presetFiles(name: string): string[] {
  const names = presetNames();
  if (!names.includes(name)) {
    throw new SpaError("UNKNOWN_NAME", `there is no preset "${name}"${didYouMean(name, names)}`, {
      hint: `presets: ${names.join(", ")}; a file's name ends in .yaml`,
    });
  }
  const { models, environments } = llmPresets();
  for (const model of models) {
    const environment = environments.find((other) => name === `${model}-${other}`);
    if (environment === undefined) continue;
    const parts = [folder("llm", "models", model), folder("llm", "environments", environment)];
    return [llmPresetFile(), ...parts.map((part) => `${part}.yaml`)];
  }
  return [folder(`${name}.yaml`)];
}

/** What a preset trains, in words: the comments at the beginning of its files. */
export function presetSummary(name: string): string {
  return presetFiles(name)
    .filter((file) => file !== llmPresetFile())
    .map(leadingComment)
    .join(" on ");
}

/** The comment at the beginning of a file, as one paragraph. */
function leadingComment(file: string): string {
  const lines = readFileSync(file, "utf8").split("\n");
  const end = lines.findIndex((line) => !line.startsWith("#"));
  return lines
    .slice(0, end)
    .map((line) => line.replace(/^#\s?/, ""))
    .join(" ")
    .trim();
}
