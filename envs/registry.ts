import { SpaError } from "../lib/errors.ts";
import type { Environment, EnvironmentFactory } from "./environment.ts";
import { LATE, shownError, withinTime } from "./foreign-value.ts";
import { createGuarded, DEFAULT_TIMEOUT } from "./guard.ts";
import { nameHint } from "./options.ts";

interface Registration {
  factory: EnvironmentFactory;
  description: string;
}

const registrations = new Map<string, Registration>();

/**
 * Makes an environment known by name, for `createEnvironment` and the command line.
 *
 * Registering the same factory again changes nothing.
 *
 * @param name lower-case words joined by hyphens
 * @throws SpaError BAD_ARGUMENT for a malformed name or one that another factory has
 */
export function registerEnvironment(
  name: string,
  factory: EnvironmentFactory,
  { description = "" }: { description?: string } = {},
): void {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) {
    throw new SpaError("BAD_ARGUMENT", `"${name}" is no name for an environment`, {
      hint: 'use lower-case words joined by hyphens, for example "frozen-lake"',
    });
  }
  if (typeof factory !== "function") {
    throw new SpaError("BAD_ARGUMENT", `the factory of environment "${name}" is not a function`, {
      hint: "pass a function that takes the options and returns an environment",
    });
  }
  const known = registrations.get(name);
  if (known !== undefined && known.factory !== factory) {
    throw new SpaError("BAD_ARGUMENT", `there is already an environment "${name}"`, {
      hint: "choose another name",
    });
  }
  registrations.set(name, { factory, description });
}

/** The names of all registered environments, in alphabetical order. */
export function environmentNames(): string[] {
  return [...registrations.keys()].sort();
}

/**
 * One line about a registered environment.
 *
 * @throws SpaError UNKNOWN_NAME
 */
export function environmentDescription(name: string): string {
  return registration(name).description;
}

function registration(name: string): Registration {
  const known = registrations.get(name);
  if (known === undefined) {
    throw new SpaError("UNKNOWN_NAME", `there is no environment "${name}"`, {
      hint: nameHint(name, environmentNames()),
    });
  }
  return known;
}

/** `createEnvironment` without the types of the environments that come with the package. */
export function createRegistered(name: string, options: Record<string, unknown>): Environment {
  const { factory } = registration(name);
  return createGuarded(() => factory(options), `environment "${name}"`);
}

/**
 * Registers the environment that a JavaScript module exports (the command line's `--env ./mine.js`).
 *
 * The module exports `name`, `create(options)` and, if it likes, `description`. For Node alone.
 *
 * @param path of the module, relative to the working directory
 * @returns the environment's name
 * @throws SpaError BAD_ENVIRONMENT when there is no such file, it cannot be loaded or lacks an export; BAD_ARGUMENT
 *   when its name is malformed or taken
 */
export async function loadEnvironmentModule(path: string): Promise<string> {
  // Asked for here and not imported above: everything else in this folder runs in a browser, too.
  const { existsSync } = process.getBuiltinModule("node:fs");
  const { resolve } = process.getBuiltinModule("node:path");
  const { pathToFileURL } = process.getBuiltinModule("node:url");
  const file = resolve(path);
  if (!existsSync(file)) {
    throw new SpaError("BAD_ENVIRONMENT", `there is no environment file ${path}`, { hint: "check the path" });
  }
  let loaded: unknown;
  try {
    loaded = await withinTime(import(pathToFileURL(file).href), DEFAULT_TIMEOUT);
  } catch (cause) {
    throw new SpaError("BAD_ENVIRONMENT", `${path} could not be loaded: ${shownError(cause)}`, {
      hint: "the file must be an ES module (.mjs, or .js under a package.json with type: module)",
      cause,
    });
  }
  if (loaded === LATE) {
    throw new SpaError("BAD_ENVIRONMENT", `${path} has not loaded in ${DEFAULT_TIMEOUT} s`, {
      hint: "what takes time belongs into reset(), not into the module",
    });
  }
  const { name, create, description } = loaded as Record<string, unknown>;
  if (typeof name !== "string" || typeof create !== "function") {
    const lacking = typeof name !== "string" ? "name (a text)" : "create (a function)";
    throw new SpaError("BAD_ENVIRONMENT", `${path} does not export ${lacking}`, {
      hint: "see examples/coin-grid-environment.mjs",
    });
  }
  registerEnvironment(name, create as EnvironmentFactory, {
    description: typeof description === "string" ? description : undefined,
  });
  return name;
}
