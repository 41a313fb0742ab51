import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Json } from "../../envs/environment.ts";
import { packageRoot } from "../package.ts";
import type { RunFolder } from "../run/run-folder.ts";
import { scheduleStages } from "../stages/schedule.ts";
import { flatSettings } from "./flat-settings.ts";
import type { TrackerState } from "./row-sender.ts";
import type { RowSink } from "./tracker.ts";

/** Milliseconds that the library may take for an answer, or to end. */
const patience = 60_000;

/** Of what the library has printed, the end. */
const toldCharacters = 300;

/**
 * Weights & Biases or Trackio, by their Python library in a process beside this one (`SPA_PYTHON`, by default python3), for neither
 * has another documented interface that is kept. What the library itself is told by (WANDB_PROJECT, WANDB_MODE, …) is its own affair.
 */
export function pythonSink(
  library: "wandb" | "trackio",
  run: RunFolder,
  state: TrackerState,
  env: NodeJS.ProcessEnv = process.env,
): RowSink {
  let bridge: Bridge | undefined;
  const begin = async (): Promise<Bridge> => {
    const begun = new Bridge(env.SPA_PYTHON ?? "python3", library, env);
    if (state.id === undefined) state.write({ id: `${run.name}-${Date.parse(run.created).toString(36)}` });
    await begun.ask({
      begin: {
        project: (library === "wandb" ? env.WANDB_PROJECT : env.TRACKIO_PROJECT) ?? "spa-ai",
        id: state.id!.replaceAll(/[/\\#?%:]/g, "-"),
        name: run.name,
        folder: run.path,
        config: flatSettings(run.config),
        stages: scheduleStages(run.config).map(({ id }) => id),
      },
    });
    return begun;
  };
  return {
    send: async (rows) => {
      try {
        bridge ??= await begin();
        await bridge.ask({ rows: rows as unknown as Json });
      } catch (error) {
        bridge?.kill();
        bridge = undefined;
        throw error;
      }
    },
    close: async () => {
      await bridge?.end();
    },
  };
}

/** The process with the library. */
class Bridge {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  #told = "";
  #ended: Promise<unknown>;

  constructor(python: string, library: string, env: NodeJS.ProcessEnv) {
    const script = join(packageRoot(), "lib", "trackers", "python_tracker.py");
    this.#child = spawn(python, [script, library], { stdio: "pipe", env });
    this.#ended = once(this.#child, "close").catch((error: unknown) => {
      this.#told = String(error);
    });
    // A process that is gone is told of by the answer that does not come.
    this.#child.stdin?.on("error", () => {});
    this.#child.stderr?.on("data", (data) => {
      this.#told = `${this.#told}${data}`.slice(-toldCharacters);
    });
    this.#answers = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** @throws Error with what the library has printed last, when it gives no answer */
  async ask(message: Json): Promise<void> {
    this.#child.stdin?.write(`${JSON.stringify(message)}\n`);
    const timer = setTimeout(() => this.kill(), patience);
    try {
      const { done } = await this.#answers.next();
      if (!done) return;
      await this.#ended;
    } finally {
      clearTimeout(timer);
    }
    throw new Error(this.#told.trim() || "it has ended without a word");
  }

  async end(): Promise<void> {
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.kill(), patience);
    await this.#ended;
    clearTimeout(timer);
  }

  kill(): void {
    this.#child.kill();
  }
}
