// A configuration is built in layers: the schema's defaults, a preset or file (over what it `extends`), and key=value
// overrides. It is checked once, as a whole; errors say where the wrong setting was written and what is allowed there.

import { basename, dirname, extname, resolve, sep } from "node:path";
import type { z } from "zod";
import { badArgument, show as showArgument } from "../addon/arguments.ts";
import { SpaError } from "../errors.ts";
import { nearestName } from "../nearest-name.ts";
import { allowedValues, keysAt, schemaAt } from "./allowed-values.ts";
import { nearestSettings } from "./nearest-setting.ts";
import {
  isMapping,
  type Mapping,
  mergeLayers,
  type Override,
  overrideLayer,
  parseOverride,
  shorten,
} from "./overrides.ts";
import { presetFiles } from "./presets.ts";
import { type Config, configSchema } from "./schema.ts";
import { expandModel, expandStart } from "./sections/engine.ts";
import { YamlFile } from "./yaml-file.ts";

/** A layer of settings and where it came from. */
interface Layer {
  content: Mapping;
  /** Where the setting at `path` was written; undefined for defaults, which nobody wrote. */
  locate(path: readonly PropertyKey[]): string | undefined;
}

/** Whether `source` means a file rather than a preset. */
function isFile(source: string): boolean {
  return [".yaml", ".yml"].includes(extname(source)) || source.includes("/") || source.includes(sep);
}

/** The layers of a preset or file, lowest first: what it extends, then itself. */
function fileLayers(source: string, folder: string, extending: string[] = []): Layer[] {
  const paths = isFile(source) ? [resolve(folder, source)] : presetFiles(source);
  return paths.flatMap((path) => layersOf(path, extending));
}

function layersOf(path: string, extending: string[]): Layer[] {
  if (extending.includes(path)) {
    throw new SpaError("BAD_CONFIG", `${extending.at(-1)} extends itself, by way of ${path}`);
  }
  const file = new YamlFile(path);
  const { extends: parent, ...written } = file.content;
  if ("preset" in written && !isWhole(written)) {
    throw new SpaError(
      "BAD_CONFIG",
      `${file.locate(["preset"])}: a file does not begin with a preset by "preset"`,
      {
        hint: `write extends: ${show(written.preset)}; preset is what a run's config.yaml says of its origin`,
      },
    );
  }
  const content = withoutShorthands(written, file.locate(["start"]));
  const place = (at: readonly PropertyKey[]) => ("start" in written && at[0] === "model" ? ["start"] : at);
  const layer: Layer = { content, locate: (at) => file.locate(place(at)) };
  if (parent === undefined) return [layer];
  if (typeof parent !== "string") {
    throw new SpaError(
      "BAD_CONFIG",
      `${file.locate(["extends"])}: extends must name a preset or a .yaml file`,
    );
  }
  return [...fileLayers(parent, dirname(path), [...extending, path]), layer];
}

/** What the config.yaml of a run has, of whatever version: sections that came later are not among them. */
const alwaysWritten = [
  "seed",
  "arms",
  "engine",
  "model",
  "environment",
  "protocol",
  "levels",
  "ppo",
  "evaluation",
];

/** Whether a file is the config.yaml of a run, in which everything is written out. */
function isWhole(content: Mapping): boolean {
  return alwaysWritten.every((section) => section in content);
}

function overrideLayers(overrides: readonly Override[]): Layer[] {
  return overrides.map((override) => {
    const content = withoutShorthands(overrideLayer(override));
    if ("preset" in content) {
      throw new SpaError("BAD_CONFIG", `${override.text}: a preset is no setting`, {
        hint: `name it first: spa train ${content.preset}`,
      });
    }
    return { content, locate: () => shorten(override.text) };
  });
}

/** Layers are merged key by key, so each must be written out. `where`: of a `start`, for its error. */
function withoutShorthands({ start, ...content }: Mapping, where = "start"): Mapping {
  if (start === undefined)
    return "model" in content ? { ...content, model: expandModel(content.model) } : content;
  if (!("model" in content)) return { ...content, model: expandStart(start) };
  throw new SpaError("BAD_CONFIG", `${where}: start stands beside model, in whose place it is`, {
    hint: "leave one of them out",
  });
}

function valueAt(content: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      value !== null && typeof value === "object" ? (value as Record<PropertyKey, unknown>)[key] : undefined,
    content,
  );
}

/** Where the setting at `path` was written: in the topmost layer that has it, or has the nearest of its parents. */
function locate(layers: readonly Layer[], path: readonly PropertyKey[]): string | undefined {
  for (let length = path.length; length > 0; length--) {
    const part = path.slice(0, length);
    const layer = layers.findLast(({ content }) => valueAt(content, part) !== undefined);
    if (layer) return layer.locate(part);
  }
  return undefined;
}

function show(value: unknown): string {
  const text = typeof value === "number" ? String(value) : (JSON.stringify(value) ?? String(value));
  return shorten(text, 80);
}

/** "did you mean" for an unknown key: a sibling that is spelled alike, else settings of such a name elsewhere. */
function suggestion(key: string, path: readonly PropertyKey[], content: unknown): string {
  const siblings = keysAt(path, content);
  const nearest = nearestName(key, siblings);
  if (nearest) return `; did you mean ${[...path, nearest].join(".")}?`;
  const elsewhere = nearestSettings(key, path.join("."));
  if (elsewhere.length > 0) return `; did you mean ${elsewhere.slice(0, 4).join(" or ")}?`;
  return siblings.length > 0 ? `; there are ${siblings.join(", ")}` : "";
}

/** What is wrong, a line each. Lazily: each takes a search, and of very many only the first are told. */
function* describeIssue(
  issue: z.core.$ZodIssue,
  content: Mapping,
  layers: readonly Layer[],
): Generator<string> {
  const at = (path: readonly PropertyKey[], text: string) => {
    const where = locate(layers, path);
    return where ? `${where}: ${text}` : text;
  };
  if (issue.code === "unrecognized_keys") {
    for (const key of issue.keys) {
      const path = [...issue.path, key];
      yield at(path, `there is no setting ${shorten(path.join("."))}${suggestion(key, issue.path, content)}`);
    }
    return;
  }
  const name = issue.path.join(".");
  const value = valueAt(content, issue.path);
  if (issue.code === "custom") {
    yield at(issue.path, `${name} is ${show(value)}: ${issue.message}`);
    return;
  }
  const node = schemaAt(issue.path, content);
  const allowed = node ? allowedValues(node) : issue.message;
  const actual = value === undefined ? "is missing" : `is ${show(value)}`;
  const nearest =
    typeof value === "string" && node?.enum ? nearestName(value, node.enum.map(String)) : undefined;
  yield at(
    issue.path,
    `${name} ${actual}; it must be ${allowed}${nearest ? `; did you mean "${nearest}"?` : ""}`,
  );
}

/** Of more mistakes than these only the first are told. */
const TOLD_PROBLEMS = 20;

/** Mistakes as one message. */
function describeIssues(
  issues: readonly z.core.$ZodIssue[],
  content: Mapping,
  layers: readonly Layer[],
): string {
  const told: string[] = [];
  for (const issue of issues) {
    for (const problem of describeIssue(issue, content, layers)) {
      if (told.push(problem) >= TOLD_PROBLEMS) break;
    }
    if (told.length >= TOLD_PROBLEMS) break;
  }
  const count = issues.reduce((sum, issue) => sum + ("keys" in issue ? issue.keys.length : 1), 0);
  if (count === 1) return told[0];
  const more = count > told.length ? [`… and ${count - told.length} more`] : [];
  return `${count} settings are wrong:\n${[...told, ...more].map((line) => `  - ${line}`).join("\n")}`;
}

function check(written: readonly Layer[]): Config {
  const defaults: Layer = { content: configSchema.parse({}), locate: () => undefined };
  const layers = [defaults, ...written];
  const content = layers.reduce((below, layer) => mergeLayers(below, layer.content), {} as Mapping);
  const result = configSchema.safeParse(content);
  if (result.success) return result.data;
  const { issues } = result.error;
  // A value that is wrong in itself may also break a rule between settings: that is no second mistake.
  const own = issues.filter((issue) => issue.code !== "custom");
  const message = describeIssues(own.length > 0 ? own : issues, content, layers);
  throw new SpaError("BAD_CONFIG", message, { hint: "docs/configuration.md lists every setting" });
}

/**
 * The configuration of a preset or YAML file with `key=value` overrides on top, checked and with all defaults filled
 * in. A file may say `extends: <preset or file>`.
 *
 * @param source name of a preset, or path of a .yaml file
 * @throws SpaError `UNKNOWN_NAME` for an unknown preset, `BAD_ARGUMENT` for arguments of other types, `BAD_CONFIG` for
 * everything else, with the place and the nearest right name
 */
export function loadConfig(source: string, overrides: readonly string[] = []): Config {
  checkSource(source);
  checkOverrides(overrides);
  const name = isFile(source) ? basename(source, extname(source)) : source;
  const parsed = overrides.map(parseOverride);
  const files = fileLayers(source, process.cwd());
  // Overrides among themselves first: their order must not decide which of them carry over.
  const onTop = overrideLayers(parsed);
  const together: Layer = {
    content: onTop.reduce((below, layer) => mergeLayers(below, layer.content), {} as Mapping),
    locate: (path) => locate(onTop, path) ?? "overrides",
  };
  const preset: Layer = { content: { preset: name }, locate: () => source };
  return check([...files, preset, together]);
}

/**
 * `config` with `key=value` overrides on top.
 *
 * @throws SpaError `BAD_CONFIG`
 */
export function overrideConfig(config: Config, overrides: readonly string[]): Config {
  const below: Layer = { content: checkMapping(config), locate: () => "the run's config.yaml" };
  checkOverrides(overrides);
  return check([below, ...overrideLayers(overrides.map(parseOverride))]);
}

/**
 * A configuration that a program has put together, checked, with defaults for what it leaves out.
 *
 * @throws SpaError `BAD_ARGUMENT` for what is no mapping, `BAD_CONFIG`
 */
export function checkConfig(config: unknown): Config {
  const content = withoutShorthands(checkMapping(config));
  return check([{ content, locate: () => undefined }]);
}

const typesHint =
  'loadConfig("nano-sokoban", ["seed=2"]) takes a preset or a YAML file, and settings; train() takes what it returns';

function checkSource(source: unknown): void {
  if (typeof source === "string") return;
  throw badArgument(`loadConfig: source must be a text, not ${showArgument(source)}`, typesHint);
}

function checkOverrides(overrides: unknown): void {
  if (Array.isArray(overrides) && overrides.every((text) => typeof text === "string")) return;
  throw badArgument(`overrides must be a list of key=value texts, not ${showArgument(overrides)}`, typesHint);
}

function checkMapping(config: unknown): Mapping {
  if (isMapping(config)) return { ...config };
  throw badArgument(`a configuration must be an object, not ${showArgument(config)}`, typesHint);
}
