import { readFileSync } from "node:fs";
import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument } from "yaml";
import { SpaError } from "../errors.ts";
import { isMapping, type Mapping } from "./overrides.ts";

/** A YAML file of settings that remembers where each stands. */
export class YamlFile {
  readonly path: string;
  readonly content: Mapping;
  readonly #document: Document;
  readonly #lines = new LineCounter();

  /** @throws SpaError `BAD_CONFIG` with line and column of what is no YAML, or if the file cannot be read */
  constructor(path: string) {
    this.path = path;
    this.#document = parseDocument(readText(path), { lineCounter: this.#lines });
    const [error] = this.#document.errors;
    if (error) {
      const { line, col } = this.#lines.linePos(error.pos[0]);
      const reason = error.message.split("\n")[0].replace(/ at line \d+, column \d+:?$/, "");
      throw new SpaError("BAD_CONFIG", `${path}:${line}:${col}: ${reason}`, {
        hint: "mend the YAML there",
        cause: error,
      });
    }
    this.content = this.#mapping();
  }

  /** `file.yaml:3:5`: where the setting at `path` stands, or the last of its parents that is there. */
  locate(path: readonly PropertyKey[]): string {
    let position = 0;
    let node: unknown = this.#document.contents;
    for (const key of path) {
      if (!isMap(node)) break;
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
      if (!pair) break;
      if (isNode(pair.key) && pair.key.range) position = pair.key.range[0];
      node = pair.value;
    }
    const { line, col } = this.#lines.linePos(position);
    return `${this.path}:${line}:${col}`;
  }

  #mapping(): Mapping {
    let content: unknown;
    try {
      content = this.#document.toJS({ maxAliasCount: 100 });
    } catch (error) {
      throw new SpaError("BAD_CONFIG", `${this.path}: ${(error as Error).message}`, { cause: error });
    }
    if (content === null || content === undefined) return {};
    if (isMapping(content)) return content;
    throw new SpaError("BAD_CONFIG", `${this.path} holds no settings`, {
      hint: "a configuration is a YAML mapping, e.g. a line `seed: 2`; see docs/configuration.md",
    });
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const reason = code === "ENOENT" ? "there is no such file" : (error as Error).message;
    throw new SpaError("BAD_CONFIG", `${path} cannot be read: ${reason}`, {
      hint: "give the name of a preset (spa presets) or the path of a YAML file",
      cause: error,
    });
  }
}
