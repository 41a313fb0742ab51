import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What a libtorch says of itself. */
export interface LibtorchVersion {
  /** Without what follows a plus: `2.13.0`. */
  version: string;
  /** Of CUDA, e.g. `12.8`; null for a libtorch without. */
  cuda: string | null;
}

/** The version of the libtorch in a folder: of a wheel (version.py) or an archive (build-version); undefined if it has neither. */
export function libtorchVersion(folder: string): LibtorchVersion | undefined {
  const read = (name: string) =>
    existsSync(join(folder, name)) ? readFileSync(join(folder, name), "utf8") : undefined;
  const wheel = read("version.py");
  const full =
    wheel === undefined ? read("build-version")?.trim() : /__version__ = '([^']+)'/.exec(wheel)?.[1];
  if (full === undefined) return undefined;
  const [version, build = ""] = full.split("+");
  // "cu128" is 12.8, "cu130" is 13.0.
  const digits = /^cu(\d{2,})(\d)$/.exec(build);
  const named = wheel === undefined ? undefined : /^cuda(?:: [^=]+)? = '([\d.]+)'/m.exec(wheel)?.[1];
  return { version, cuda: named ?? (digits ? `${digits[1]}.${digits[2]}` : null) };
}
