import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const program = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "bin", "spa.mjs");

export interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** A running `spa` with what it has written so far. */
export interface Running {
  child: ChildProcess;
  /** Resolves once standard error holds `text`; rejects if the process ends before. */
  says(text: string): Promise<void>;
  end: Promise<Outcome>;
}

/** Starts `spa` as a user would, in `folder`. */
export function start(folder: string, args: string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: folder,
    env: { ...process.env, SPA_DEBUG: undefined, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const written = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].on("data", (data) => {
      written[name] += data;
    });
  }
  const end = new Promise<Outcome>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal, ...written }));
  });
  const says = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const check = () => written.stderr.includes(text) && resolve();
      child.stderr.on("data", check);
      check();
      void end.then(() => reject(new Error(`ended without saying ${text}: ${written.stderr}`)));
    });
  return { child, says, end };
}

/** Runs `spa` to its end. */
export function spa(folder: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return start(folder, args, env).end;
}

/** A configuration whose whole pipeline takes seconds; what it learns does not matter. */
export const tinyConfig = `
extends: nano-frozen-lake-single-turn
model: { kind: nano, hidden: 32, layers: 2, heads: 2, keyValueHeads: 1, headDimension: 16, intermediate: 64 }
engine: { threads: 1 }
base: { steps: 120, levels: 60, optimizer: { learningRate: 0.006 } }
selfPlay: { trajectories: 48, rounds: 1 }
sft: { epochs: 2, batchSize: 4, validationLevels: 4 }
ppo: { steps: 4, groups: 4, groupSize: 4, validateEvery: 2, validationLevels: 4, validationSamples: 2, minibatch: 4 }
levels: { testLevels: 8, tuningLevels: 8 }
evaluation: { samples: 2, bootstrap: 50 }
checkpoints: { every: 1, everyUpdates: 20 }
`;

/** Writes {@link tinyConfig} into `folder`. */
export function writeTinyConfig(folder: string): void {
  writeFileSync(join(folder, "tiny.yaml"), tinyConfig);
}
