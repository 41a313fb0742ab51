import { SpaError } from "../errors.ts";
import { readYaml, YamlProblem } from "./yaml.ts";

/** A mapping as YAML gives it. */
export type Mapping = { [key: string]: unknown };

export function isMapping(value: unknown): value is Mapping {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/**
 * Settings whose other settings depend on one of them: another environment has other options, another kind of model
 * other fields. When `by` changes, `dependent` (undefined: everything else) does not carry over.
 */
const dependents = new Map([
  ["environment", { by: "name", dependent: "options" }],
  ["model", { by: "kind", dependent: undefined }],
]);

function carriedOver(below: Mapping, above: Mapping, path: string): Mapping {
  const rule = dependents.get(path);
  if (!rule || above[rule.by] === undefined || below[rule.by] === undefined) return below;
  if (above[rule.by] === below[rule.by]) return below;
  if (rule.dependent === undefined) return {};
  return Object.fromEntries(Object.entries(below).filter(([key]) => key !== rule.dependent));
}

/** Lays `above` over `below`: mappings are merged key by key, everything else (lists too) is replaced. */
export function mergeLayers(below: Mapping, above: Mapping, path = ""): Mapping {
  const kept = carriedOver(below, above, path);
  const merged = new Map(Object.entries(kept));
  for (const [key, value] of Object.entries(above)) {
    const old = merged.get(key);
    const inner = path === "" ? key : `${path}.${key}`;
    merged.set(key, isMapping(old) && isMapping(value) ? mergeLayers(old, value, inner) : value);
  }
  return Object.fromEntries(merged);
}

/** A `key=value` argument: `ppo.steps=10`, `arms=[spa]`, `environment.options.size=6`. */
export interface Override {
  /** As it was written. */
  text: string;
  path: string[];
  value: unknown;
}

/**
 * Reads a `key=value` argument: dotted keys, a YAML value.
 *
 * @throws SpaError `BAD_CONFIG`
 */
export function parseOverride(text: string): Override {
  const equals = text.indexOf("=");
  const path = text.slice(0, Math.max(equals, 0)).split(".");
  if (equals < 0 || path.some((key) => key.trim() === "")) {
    throw new SpaError("BAD_CONFIG", `"${shorten(text)}" is no setting`, {
      hint: "settings are written key=value, with dots between nested keys: ppo.steps=10",
    });
  }
  try {
    return { text, path: path.map((key) => key.trim()), value: readYaml(text.slice(equals + 1)).content };
  } catch (error) {
    if (!(error instanceof YamlProblem)) throw error;
    throw new SpaError("BAD_CONFIG", `${shorten(text)}: the value is no YAML: ${error.message}`, {
      hint: "put a text with special characters in quotes, and the whole setting in quotes of the shell",
      cause: error,
    });
  }
}

/** A user's text as messages quote it. */
export function shorten(text: string, length = 200): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** An override as a layer of settings: `ppo.steps=10` -> `{ ppo: { steps: 10 } }`. */
export function overrideLayer({ path, value }: Override): Mapping {
  const inner = path
    .slice(1)
    .reduceRight<unknown>((content, key) => Object.fromEntries([[key, content]]), value);
  return Object.fromEntries([[path[0], inner]]);
}
