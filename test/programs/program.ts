import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { type Bundle, bundle } from "./bundle.ts";

/** How a child process ended, and what it wrote. */
export interface Ending {
  code: number | null;
  signal: NodeJS.Signals | null;
  output: string;
}

/** A program of this folder. */
export interface Program extends Bundle {
  start(...args: string[]): ChildProcess;
  run(...args: string[]): Promise<Ending>;
}

/** Bundles `<name>.ts` of this folder. */
export async function buildProgram(name: string): Promise<Program> {
  const built = await bundle(join(import.meta.dirname, `${name}.ts`));
  const start = (...args: string[]) =>
    spawn(process.execPath, [built.file, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  return { ...built, start, run: (...args) => ending(start(...args)) };
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
