// The package itself: where its files lie, and its version.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SpaError } from "./errors.ts";

/** The folder of the package.json named spa-ai above this file: the same from lib/ and from dist/lib/. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!isPackageRoot(folder)) {
    const parent = dirname(folder);
    if (parent === folder) {
      throw new SpaError(
        "ADDON_MISSING",
        `no package.json of spa-ai stands above ${fileURLToPath(import.meta.url)}`,
        {
          hint: "install the package again if its files were moved apart; keep it out of bundles (--external:spa-ai)",
        },
      );
    }
    folder = parent;
  }
  return folder;
}

function isPackageRoot(folder: string): boolean {
  const file = join(folder, "package.json");
  return existsSync(file) && (JSON.parse(readFileSync(file, "utf8")) as { name?: unknown }).name === "spa-ai";
}

/** The version of this package. */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as { version: string })
    .version;
}
