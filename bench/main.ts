import { fork } from "node:child_process";
import { writeFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { benchmarks } from "./benchmarks.ts";
import { type BenchModel, type BenchModelName, benchModels } from "./models.ts";
import { formatReports } from "./table.ts";
import type { ClockName } from "./timing.ts";
import type { WorkerMessage, WorkerReport, WorkerRequest } from "./worker.ts";

interface BenchOptions {
  model: BenchModelName;
  layers?: number;
  only?: string[];
  threads: number[];
  dtype?: "float32" | "bfloat16";
  rounds?: number;
  peers: boolean;
  quick: boolean;
  json?: string;
  clock: ClockName;
}

function readThreads(text: string): number[] {
  const counts = text.split(",").map(Number);
  if (!counts.every((count) => Number.isInteger(count) && count >= 1 && count <= 1024)) {
    throw new InvalidArgumentError("give whole numbers like 1,2");
  }
  return counts;
}

function readCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1)
    throw new InvalidArgumentError("give a whole number of at least 1");
  return count;
}

function command(): Command {
  const list = Object.entries(benchmarks).map(([name, { about }]) => `  ${name.padEnd(14)}${about}`);
  const peers = "compare with PyTorch + transformers (python3, or SPA_PEER_PYTHON)";
  return new Command("npm run bench --")
    .description("Measures the engine with random weights, each number of threads in a process of its own.")
    .addOption(
      new Option("--model <name>", "whose shape to measure")
        .choices(Object.keys(benchModels))
        .default("nano"),
    )
    .option("--layers <count>", "of the model, for a quick look; the output says so", readCount)
    .addOption(new Option("--only <name...>", "run these benchmarks alone").choices(Object.keys(benchmarks)))
    .option("--threads <list>", "numbers of threads", readThreads, availableParallelism() > 1 ? [1, 2] : [1])
    .addOption(
      new Option("--dtype <dtype>", "of the engine (default: float32 for nano, else bfloat16)").choices([
        "float32",
        "bfloat16",
      ]),
    )
    .option(
      "--rounds <count>",
      "timed runs of each, the median counts (default: 7 for nano, else 3; fewer with --quick)",
      readCount,
    )
    .option("--peers", peers, false)
    .addOption(
      new Option("--clock <clock>", "cpu: processor time, for one thread on a busy machine")
        .choices(["wall", "cpu"])
        .default("wall"),
    )
    .option("--quick", "small sizes and few rounds: to see that it works", false)
    .option("--json <file>", "also write the figures there")
    .addHelpText(
      "after",
      `\nBenchmarks:\n${list.join("\n")}\n\nExamples:\n  npm run bench\n  npm run bench -- --peers --json bench.json\n  npm run bench -- --only sampling sft --threads 1\n  npm run bench -- --model qwen2.5-0.5b --peers`,
    )
    .exitOverride();
}

/**
 * `npm run bench`.
 *
 * @returns the process's exit code: 0, 1 when a benchmark failed, 2 for wrong arguments
 */
export async function runBench(args: readonly string[]): Promise<number> {
  const program = command();
  try {
    program.parse([...args], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  const options = program.opts<BenchOptions>();
  const reports: WorkerReport[] = [];
  try {
    for (const [index, threads] of options.threads.entries()) {
      reports.push(await measureInProcess(requestFor(options, threads, index === 0)));
    }
  } catch (error) {
    console.error(`bench: ${(error as Error).message}`);
    return 1;
  }
  console.log(`${machine().cpu}, ${machine().cores} cores\n`);
  console.log(formatReports(reports));
  if (options.json)
    writeFileSync(options.json, `${JSON.stringify({ machine: machine(), reports }, null, 2)}\n`);
  return 0;
}

function requestFor(options: BenchOptions, threads: number, first: boolean): WorkerRequest {
  const { quick, peers, clock, layers } = options;
  const model: BenchModel = benchModels[options.model];
  const wanted = options.only ?? model.names ?? Object.keys(benchmarks);
  const names = Object.keys(benchmarks).filter(
    (name) => wanted.includes(name) && (first || !benchmarks[name].singleThreaded),
  );
  const rounds = options.rounds ?? (quick ? model.quickRounds : model.rounds);
  const dtype = options.dtype ?? model.dtype;
  const waitPolicy = process.env.OMP_WAIT_POLICY;
  return { model: options.model, layers, threads, dtype, names, quick, peers, clock, rounds, waitPolicy };
}

function measureInProcess(request: WorkerRequest): Promise<WorkerReport> {
  const child = fork(fileURLToPath(new URL("./worker.js", import.meta.url)));
  return new Promise((resolve, reject) => {
    child.on("message", (message: WorkerMessage) => {
      if ("progress" in message) console.error(message.progress);
      else if ("report" in message) resolve(message.report);
      else reject(new Error(message.error));
    });
    child.once("error", reject);
    child.once("exit", (code, signal) =>
      reject(new Error(`the measuring process ended with ${signal ?? code}`)),
    );
    child.send(request);
  });
}

function machine(): { cpu: string; cores: number; memory: number; node: string } {
  const [cpu] = cpus();
  return {
    cpu: cpu?.model ?? process.arch,
    cores: availableParallelism(),
    memory: totalmem(),
    node: process.version,
  };
}
