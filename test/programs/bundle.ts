import { mkdtempSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** A program as one file of plain JavaScript, which node and worker threads can run; node_modules stay outside. */
export interface Bundle extends Disposable {
  file: string;
}

/** Bundles a TypeScript file into a place from which the package's own files are found. */
export async function bundle(source: string): Promise<Bundle> {
  const folder = mkdtempSync(join(root, "node_modules", ".spa-test-"));
  const name = `${basename(source, ".ts")}.mjs`;
  await build({
    root,
    configFile: false,
    logLevel: "error",
    build: {
      ssr: source,
      outDir: folder,
      target: "node20",
      rolldownOptions: { output: { entryFileNames: name } },
    },
  });
  return {
    file: join(folder, name),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
