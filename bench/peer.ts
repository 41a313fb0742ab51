import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { ModelConfig } from "../lib/formats/model-config.ts";
import { packageRoot } from "../lib/package.ts";
import type { ClockName } from "./timing.ts";

/** What the peer says of itself. */
export interface PeerVersions {
  python: string;
  torch: string;
  transformers: string;
  cpuCapability: string;
  threads: number;
}

/** How fast the ways were that the peer tried. */
export interface PeerChoice {
  /** The fastest. */
  variant: string;
  tried: { variant: string; seconds?: number; error?: string }[];
}

export type PeerTask = "sample" | "sampleLogProbs" | "score" | "sft" | "ppo";

/** A process that answers each line of JSON with one. */
class LineProcess {
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  #problem: string | undefined;

  constructor(command: string, argument: string, env: NodeJS.ProcessEnv) {
    const stderr = process.env.SPA_PEER_VERBOSE ? "inherit" : "ignore";
    this.#process = spawn(command, [argument], { stdio: ["pipe", "pipe", stderr], env });
    this.#process.once("error", (error) => {
      this.#problem = `${command} does not start: ${error.message}`;
    });
    // A process that is gone shows as the end of its answers; the broken pipe says nothing more.
    this.#process.stdin!.on("error", () => {});
    this.#answers = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  async ask<T>(request: object): Promise<T> {
    this.#process.stdin!.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) {
      throw new Error(
        this.#problem ?? "the peer ended without an answer (SPA_PEER_VERBOSE=1 shows what it says)",
      );
    }
    const answer = JSON.parse(value) as T & { error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }

  async stop(): Promise<void> {
    const { exitCode, signalCode, pid } = this.#process;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.stdin!.end();
    await ended;
  }
}

/** bench/peers/peer.py in a process of its own. */
export class Peer {
  readonly versions: PeerVersions;
  readonly #lines: LineProcess;

  private constructor(lines: LineProcess, versions: PeerVersions) {
    this.#lines = lines;
    this.versions = versions;
  }

  /**
   * Starts Python (SPA_PEER_PYTHON, or python3) with the script.
   *
   * Large pages are on, as in the engine; PyTorch's own default is off.
   *
   * @param waitPolicy OMP_WAIT_POLICY of the peer; undefined: PyTorch's default, which this process may not have
   * @returns the peer, or in words why there is none
   */
  static async start(
    config: ModelConfig,
    { threads, clock, waitPolicy }: { threads: number; clock: ClockName; waitPolicy: string | undefined },
  ): Promise<Peer | string> {
    const env = { ...process.env, OMP_WAIT_POLICY: waitPolicy, THP_MEM_ALLOC_ENABLE: "1" };
    const python = process.env.SPA_PEER_PYTHON || "python3";
    const lines = new LineProcess(python, join(packageRoot(), "bench", "peers", "peer.py"), env);
    try {
      return new Peer(lines, await lines.ask<PeerVersions>({ op: "start", threads, clock, config, seed: 0 }));
    } catch (error) {
      await lines.stop();
      return (error as Error).message;
    }
  }

  /** Hands over a task's batch and lets the peer find its fastest way. */
  async choose(task: PeerTask, batch: object, quick: boolean): Promise<PeerChoice> {
    await this.#lines.ask({ op: "prepare", task, batch });
    const choice = await this.#lines.ask<PeerChoice>({ op: "choose", task, quick, repeats: quick ? 1 : 3 });
    if (choice.variant === null)
      throw new Error(`the peer has no way to do ${task}: ${JSON.stringify(choice.tried)}`);
    return choice;
  }

  /** Seconds of one run. */
  async run(task: PeerTask, variant: string): Promise<number> {
    return (await this.#lines.ask<{ seconds: number }>({ op: "run", task, variant })).seconds;
  }

  /** Frees what the peer keeps for a task: its model is as large as the engine's. */
  async forget(task: PeerTask): Promise<void> {
    await this.#lines.ask({ op: "forget", task });
  }

  stop(): Promise<void> {
    return this.#lines.stop();
  }
}
