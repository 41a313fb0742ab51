import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isMap, isNode, isScalar } from "yaml";
import { SpaError } from "../errors.ts";
import { isMapping, type Mapping } from "./overrides.ts";
import { type ReadYaml, readYaml, YamlProblem } from "./yaml.ts";

/** A YAML file of settings that remembers where each stands. */
export class YamlFile {
  readonly path: string;
  readonly content: Mapping;
  readonly #yaml: ReadYaml;

  /** @throws SpaError `BAD_CONFIG` with line and column of what is no YAML, or if the file cannot be read */
  constructor(path: string) {
    this.path = path;
    this.#yaml = readContent(path, readText(path));
    this.content = this.#mapping();
  }

  /** `file.yaml:3:5`: where the setting at `path` stands, or the last of its parents that is there. */
  locate(path: readonly PropertyKey[]): string {
    let position = 0;
    let node: unknown = this.#yaml.document.contents;
    for (const key of path) {
      if (!isMap(node)) break;
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
      if (!pair) break;
      if (isNode(pair.key) && pair.key.range) position = pair.key.range[0];
      node = pair.value;
    }
    const { line, col } = this.#yaml.lines.linePos(position);
    return `${this.path}:${line}:${col}`;
  }

  #mapping(): Mapping {
    const { content } = this.#yaml;
    if (content === null || content === undefined) return {};
    if (isMapping(content)) return content;
    throw new SpaError("BAD_CONFIG", `${this.path} holds no settings`, {
      hint: "a configuration is a YAML mapping, e.g. a line `seed: 2`; see docs/configuration.md",
    });
  }
}

function readContent(path: string, text: string): ReadYaml {
  try {
    return readYaml(text);
  } catch (error) {
    if (!(error instanceof YamlProblem)) throw error;
    const { place } = error;
    const where = place ? `${path}:${place.line}:${place.column}` : path;
    throw new SpaError("BAD_CONFIG", `${where}: ${error.message}`, {
      hint: "mend the YAML there",
      cause: error,
    });
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "EISDIR" && existsSync(join(path, "run.json"))) {
      throw new SpaError("BAD_CONFIG", `${path} is a run folder, not a configuration`, {
        hint: `go on with it by --resume ${path}; a new run like it begins from ${join(path, "config.yaml")}`,
        cause: error,
      });
    }
    const reason = code === "ENOENT" ? "there is no such file" : (error as Error).message;
    throw new SpaError("BAD_CONFIG", `${path} cannot be read: ${reason}`, {
      hint: "give the name of a preset (spa presets) or the path of a YAML file",
      cause: error,
    });
  }
}
