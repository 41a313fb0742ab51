import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { stringify } from "yaml";
import { defaultPreset, loadConfig, presetFile, presetNames } from "../config/load.ts";
import { formatTable } from "./table.ts";

/** The sentence that a preset's file begins with. */
function summary(name: string): string {
  const lines = readFileSync(presetFile(name), "utf8").split("\n");
  const comment = lines.slice(0, lines.findIndex((line) => !line.startsWith("#")));
  const text = comment.map((line) => line.replace(/^#\s?/, "")).join(" ").trim();
  return /^.*?[.:](?=\s|$)/.exec(text)?.[0].replace(/:$/, ".") ?? text;
}

/** `spa presets`. */
export function addPresetsCommand(program: Command, finish: (code: number) => void): void {
  program
    .command("presets")
    .description("list the presets, or print one with all its settings")
    .argument("[preset]", "print this one's resolved configuration as YAML")
    .action((name: string | undefined) => {
      if (name !== undefined) {
        process.stdout.write(stringify(loadConfig(name)));
      } else {
        const rows = presetNames().map((preset) => [preset === defaultPreset ? `${preset} (default)` : preset, summary(preset)]);
        console.log(formatTable(["preset", "what it trains"], rows));
      }
      finish(0);
    });
}
