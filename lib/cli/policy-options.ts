import { type Command, Option } from "commander";
import type { LoadAgentOptions } from "../agent/load.ts";
import { loadConfig } from "../config/load.ts";
import type { TurnFormat } from "../text/tags.ts";

/** Options of every command that loads a policy to use it. */
export interface PolicyOptionValues {
  stage?: string;
  preset?: string;
  set: string[];
  format?: TurnFormat;
  revision?: string;
  trust?: boolean;
}

/** Adds them. */
export function addPolicyOptions(command: Command): Command {
  return command
    .option(
      "--stage <id>",
      "of a run: the stage whose newest checkpoint is taken (default: spa/ppo, or the one saved last)",
    )
    .option("--preset <name>", "of a model: the preset or .yaml file whose environment and prompts it gets")
    .option("--set <key=value>", "a setting over the configuration; may be given several times", collect, [])
    .addOption(
      new Option("--format <format>", "how turns are written (default: as trained)").choices([
        "plain",
        "world-model",
      ]),
    )
    .option("--revision <revision>", "of a Hub id: branch, tag or commit")
    .option(
      "--trust",
      "execute the environment module that a run names, though you have not named it before",
    );
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

/** What they mean for {@link Agent.load}. */
export function loadOptions(options: PolicyOptionValues): LoadAgentOptions {
  const { stage, preset, set, format, revision, trust = false } = options;
  return {
    ...{ stage, format, revision, trust, settings: set },
    ...(preset !== undefined && { config: loadConfig(preset) }),
  };
}
