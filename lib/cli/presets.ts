import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import { defaultPreset, presetNames, presetSummary } from "../config/presets.ts";
import { print, toYaml } from "./print.ts";
import { formatTable } from "./table.ts";

function firstSentence(text: string): string {
  return /^.*?\.(?=\s|$)/.exec(text)?.[0] ?? text;
}

/** `spa presets`. */
export function addPresetsCommand(program: Command, finish: (code: number) => void): void {
  program
    .command("presets")
    .description("list the presets, or print one with all its settings")
    .argument("[preset]", "print this one's resolved configuration as YAML")
    .action((name: string | undefined) => {
      if (name !== undefined) {
        print(toYaml(loadConfig(name)).trimEnd());
      } else {
        const rows = presetNames().map((preset) => [
          preset === defaultPreset ? `${preset} (default)` : preset,
          firstSentence(presetSummary(preset)),
        ]);
        print(formatTable(["preset", "what it trains"], rows));
      }
      finish(0);
    });
}
