import { isDeepStrictEqual } from "node:util";
import { loadConfig } from "./load.ts";
import { isMapping } from "./overrides.ts";
import { presetNames } from "./presets.ts";
import { type Config, configSchema } from "./schema.ts";

/** A setting that two configurations differ in; undefined where one of them has none of that name. */
export interface SettingDifference {
  /** Keys joined by dots. */
  path: string;
  here: unknown;
  there: unknown;
}

/** The settings in which `here` differs from `there`, in the order of `here`. */
export function differingSettings(here: unknown, there: unknown, path = ""): SettingDifference[] {
  if (isDeepStrictEqual(here, there)) return [];
  if (!isMapping(here) || !isMapping(there)) return [{ path, here, there }];
  const keys = [...new Set([...Object.keys(here), ...Object.keys(there)])];
  return keys.flatMap((key) =>
    differingSettings(here[key], there[key], path === "" ? key : `${path}.${key}`),
  );
}

/**
 * What a configuration changes of the preset that it started from; where that is a file of the user's, of the defaults. What
 * the preset leaves open (`auto`) is no difference.
 */
export function changedSettings(config: Config): { from: string; changes: SettingDifference[] } {
  const isKnown = presetNames().includes(config.preset);
  const original = isKnown ? loadConfig(config.preset) : configSchema.parse({});
  const changes = differingSettings(config, { ...original, preset: config.preset });
  const from = isKnown ? config.preset : "the defaults";
  return { from, changes: changes.filter(({ there }) => there !== "auto") };
}
