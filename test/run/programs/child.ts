import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..", "..");

/** A program of this folder as plain JavaScript that `node` can run; node_modules stay outside. */
export interface Program extends Disposable {
  /** @param before options of Node, and a command that it is started by */
  start(args: string[], before?: { command?: string[]; node?: string[] }): ChildProcess;
}

/** Bundles `<name>.ts` of this folder. */
export async function buildProgram(name: string): Promise<Program> {
  const folder = mkdtempSync(join(root, "node_modules", ".spa-test-"));
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
  return {
    start: (args, { command = [], node = [] } = {}) => {
      const [program, ...rest] = [
        ...command,
        process.execPath,
        ...node,
        join(folder, `${name}.mjs`),
        ...args,
      ];
      return spawn(program, rest, { stdio: ["pipe", "pipe", "inherit"] });
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Resolves with what the child has written once that holds `text`. */
export function waitForText(child: ChildProcess, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = "";
    child.stdout!.on("data", (data) => {
      output += data;
      if (output.includes(text)) resolve(output);
    });
    child.on("exit", (code) => reject(new Error(`ended with ${code} before it wrote ${text}: ${output}`)));
  });
}

/** Kills the child as `kill -9` does, and waits until it is gone. */
export async function killHard(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.on("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}
