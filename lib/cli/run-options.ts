import { relative, resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { createEnvironment, loadEnvironmentModule } from "../../envs/index.ts";
import { loadConfig } from "../config/load.ts";
import { parseOverride } from "../config/overrides.ts";
import { withAbsolutePaths } from "../config/paths.ts";
import { defaultPreset } from "../config/presets.ts";
import type { Config } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import { createRun } from "../pipeline.ts";
import { openEnvName } from "../remote/openenv-environment.ts";
import type { RunFolder } from "../run/run-folder.ts";
import { whileInterruptible } from "./download.ts";
import type { ProgressOptionValues } from "./progress-mode.ts";

/** Options of every command that works in a run folder. */
export interface RunOptionValues extends ProgressOptionValues {
  run?: string;
  name?: string;
  env?: string;
  seed?: number;
  trust?: boolean;
}

function seed(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError("It must be a whole number, 0 or more.");
  return value;
}

/** Adds the arguments that name a configuration. */
export function addSettingsArgument(command: Command): Command {
  return command.argument(
    "[settings...]",
    "a preset or a .yaml file, and key=value settings (docs/configuration.md)",
  );
}

/** Adds the arguments and options that all run commands share. */
export function addRunOptions(command: Command): Command {
  return addSettingsArgument(command)
    .option("--run <folder>", "work in this run folder")
    .option("--name <name>", "name of the new run folder (default: preset, date and time)")
    .option(
      "--env <file>",
      "JavaScript module with an environment of your own, or an OpenEnv server's address",
    )
    .option(
      "--trust",
      "execute the environment module that an existing run names, though you have not named it before",
    )
    .option("--seed <number>", "the same as seed=<number>", seed)
    .option("-q, --quiet", "print nothing but the results")
    .addOption(
      new Option(
        "--log <form>",
        "how progress is told: a line on a terminal or plain lines elsewhere, or JSON lines",
      )
        .choices(["auto", "plain", "json"])
        .default("auto"),
    );
}

/** What the arguments ask for: a preset or file, and settings over it. */
export interface Request {
  source: string | undefined;
  settings: string[];
}

/** Splits the arguments: the one that is no key=value comes first and names the preset or file. */
export function readRequest(args: readonly string[]): Request {
  const [first, ...rest] = args;
  const named = first !== undefined && !first.includes("=");
  const settings = named ? rest : [...args];
  settings.forEach(parseOverride);
  return { source: named ? first : undefined, settings };
}

/** The settings that `--env` stands for: the address of an OpenEnv server, or a module, which is executed for its name. */
export async function environmentSettings(module: string | undefined): Promise<string[]> {
  if (module === undefined) return [];
  if (/^https?:\/\//.test(module)) {
    return [`environment.name=${openEnvName}`, `environment.options.url=${JSON.stringify(module)}`];
  }
  const name = await loadEnvironmentModule(module);
  return [`environment.name=${name}`, `environment.module=${JSON.stringify(resolve(module))}`];
}

/**
 * The configuration that a new run is asked for. The environment is made once, so that an unknown name or option is
 * found before there is a run folder.
 *
 * @throws SpaError BAD_CONFIG, UNKNOWN_NAME, BAD_ENVIRONMENT, BAD_ARGUMENT
 */
export async function requestedConfig(request: Request, options: RunOptionValues): Promise<Config> {
  const settings = [...(await environmentSettings(options.env)), ...request.settings];
  if (options.seed !== undefined) settings.push(`seed=${options.seed}`);
  const config = loadConfig(request.source ?? defaultPreset, settings);
  const { name, module, options: environmentOptions } = config.environment;
  if (module !== null && options.env === undefined) await loadEnvironmentModule(module);
  await createEnvironment(name, environmentOptions).close?.();
  return withAbsolutePaths(config);
}

/** Makes a run folder, with progress of what is fetched for it; Ctrl-C stops that. */
export function createRunFolder(config: Config, options: RunOptionValues): Promise<RunFolder> {
  const { name } = options;
  return whileInterruptible(options, (progress, signal) =>
    createRun(config, { progress, signal, ...(name !== undefined && { name }) }),
  );
}

/** Refuses settings where a run folder is given: a run keeps the configuration that it began with. */
export function refuseSettings(
  { source, settings }: Request,
  options: RunOptionValues,
  folder: string,
): void {
  const given = [source, ...settings].find((text) => text !== undefined);
  const option = (["name", "env", "seed"] as const).find((name) => options[name] !== undefined);
  const what = given ?? (option && `--${option}`);
  if (what === undefined) return;
  throw new SpaError("BAD_CONFIG", `${what} cannot be given for the existing run ${showPath(folder)}`, {
    hint: "a run keeps the configuration that it began with; leave the run folder out to start a new run",
  });
}

/** A path as the user would type it. */
export function showPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near === "" ? "." : near.startsWith("..") ? path : near;
}
