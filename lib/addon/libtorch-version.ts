import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What a libtorch says of itself. */
export interface LibtorchVersion {
  /** Without what follows a plus: `2.13.0`. */
  version: string;
  /** Of CUDA, e.g. `12.8`; null for a libtorch without. */
  cuda: string | null;
}

/**
 * The version of the libtorch in a folder: of an installed wheel (version.py), an archive (build-version), or what set-up
 * has unpacked (a header; the version of CUDA then stays unknown). Undefined for a folder without any of them.
 */
export function libtorchVersion(folder: string): LibtorchVersion | undefined {
  const read = (...path: string[]) => {
    const file = join(folder, ...path);
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  };
  const wheel = read("version.py");
  const full =
    /__version__ = '([^']+)'/.exec(wheel)?.[1] ||
    read("build-version").trim() ||
    headerVersion(read("include", "torch", "headeronly", "version.h")) ||
    headerVersion(read("include", "torch", "csrc", "api", "include", "torch", "version.h"));
  if (full === undefined) return undefined;
  const [version, build = ""] = full.split("+");
  // "cu128" is 12.8, "cu130" is 13.0.
  const digits = /^cu(\d{2,})(\d)$/.exec(build);
  const named = /^cuda(?:: [^=]+)? = '([\d.]+)'/m.exec(wheel)?.[1];
  const hasCuda = existsSync(join(folder, "lib", "libtorch_cuda.so"));
  return {
    version,
    cuda: named ?? (digits ? `${digits[1]}.${digits[2]}` : hasCuda ? "of unknown version" : null),
  };
}

function headerVersion(text: string): string | undefined {
  const parts = ["MAJOR", "MINOR", "PATCH"].map(
    (name) => new RegExp(`#define TORCH_VERSION_${name} (\\d+)`).exec(text)?.[1],
  );
  return parts.includes(undefined) ? undefined : parts.join(".");
}
