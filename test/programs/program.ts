import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..");

/** How a child process ended, and what it wrote. */
export interface Ending {
  code: number | null;
  signal: NodeJS.Signals | null;
  output: string;
}

/** A program of this folder as one file of plain JavaScript, which node and worker threads can run. */
export interface Program extends Disposable {
  file: string;
  start(...args: string[]): ChildProcess;
  run(...args: string[]): Promise<Ending>;
}

/** Bundles `<name>.ts` of this folder into a place from which the package's own files are found. */
export async function buildProgram(name: string): Promise<Program> {
  const folder = mkdtempSync(join(root, "node_modules", ".spa-native-test-"));
  const file = join(folder, `${name}.mjs`);
  await build({
    root,
    configFile: false,
    logLevel: "error",
    build: {
      ssr: join(here, `${name}.ts`),
      outDir: folder,
      target: "node20",
      rolldownOptions: { output: { entryFileNames: `${name}.mjs` } },
    },
  });
  const start = (...args: string[]) =>
    spawn(process.execPath, [file, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  return {
    file,
    start,
    run: (...args) => ending(start(...args)),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Waits until a child has ended. */
export function ending(child: ChildProcess): Promise<Ending> {
  let output = "";
  const collect = (chunk: Buffer) => {
    output += chunk;
  };
  child.stdout?.on("data", collect);
  child.stderr?.on("data", collect);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, output }));
  });
}
