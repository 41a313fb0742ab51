import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { type Bundle, bundle } from "../../programs/bundle.ts";

/** A program of this folder. */
export interface Program extends Bundle {
  /** @param before options of Node, and a command that it is started by */
  start(args: string[], before?: { command?: string[]; node?: string[] }): ChildProcess;
}

/** Bundles `<name>.ts` of this folder. */
export async function buildProgram(name: string): Promise<Program> {
  const built = await bundle(join(import.meta.dirname, `${name}.ts`));
  return {
    ...built,
    start: (args, { command = [], node = [] } = {}) => {
      const [program, ...rest] = [...command, process.execPath, ...node, built.file, ...args];
      return spawn(program, rest, { stdio: ["pipe", "pipe", "inherit"] });
    },
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
