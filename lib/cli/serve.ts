import { type Command, InvalidArgumentError } from "commander";
import type { LoadedPolicy } from "../agent/load.ts";
import { SpaError } from "../errors.ts";
import { formatSize } from "../files/size.ts";
import type { RunFolder } from "../run/run-folder.ts";
import { SessionLog } from "../run/session-log.ts";
import { follow } from "../serve/follow.ts";
import { type NamedAdapter, Policies } from "../serve/policies.ts";
import { PolicyServer } from "../serve/server.ts";
import { SessionRecorder } from "../serve/sessions.ts";
import { lastRun } from "./find-run.ts";
import { interruptionCode, untilInterrupted } from "./interrupt.ts";
import { addPolicyOptions, loadOptions, type PolicyOptionValues } from "./policy-options.ts";
import { print, printError } from "./print.ts";
import { progressFor } from "./progress-mode.ts";

interface ServeOptions extends PolicyOptionValues {
  port: number;
  host: string;
  apiKey?: string;
  name?: string;
  adapter: NamedAdapter[];
  slots?: number;
  context?: number;
  maxWaiting?: number;
  timeout?: number;
  record?: string;
  follow?: boolean;
  every: number;
}

const help = `
OpenAI's HTTP API: /v1/models, /v1/chat/completions, /v1/completions (n, stop, seed, temperature, top_p, max_tokens, logprobs,
stream), token ids in and out as vLLM names them (prompt, return_token_ids, prompt_token_ids, token_ids); /health; /metrics for
Prometheus. docs/serving.md has the rest.

Requests join and leave while others are answered. Each model keeps --slots caches of --context tokens, taken at the start: more
requests wait, and beyond --max-waiting they are refused with 429.

Variables: SPA_API_KEY, the same as --api-key, which other users of the machine can see in the list of processes.

Examples:
  spa serve                                             the last run's policy
  spa serve runs/first --port 8080 --follow             its newest checkpoint, as training goes on
  spa serve models/base --adapter careful=adapters/a --adapter bold=adapters/b
  SPA_API_KEY=… spa serve Qwen/Qwen2.5-0.5B-Instruct --host 0.0.0.0
  curl localhost:8000/v1/chat/completions -H 'content-type: application/json' -d '{"messages": [{"role": "user", "content": "…"}]}'`;

function whole(least: number) {
  return (text: string): number => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < least)
      throw new InvalidArgumentError(`It must be a whole number, ${least} or more.`);
    return value;
  };
}

function namedAdapter(text: string, before: NamedAdapter[]): NamedAdapter[] {
  const [, name, folder] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined) throw new InvalidArgumentError("It must be <name>=<folder>.");
  return [...before, { name, folder }];
}

/** `spa serve`. */
export function addServeCommand(program: Command, finish: (code: number) => void): void {
  addPolicyOptions(
    program
      .command("serve")
      .description("answer over OpenAI's HTTP API with a run's policy, a model or adapters")
      .argument("[policy]", "a run folder, a model's folder or a Hub id (default: the run started last)"),
  )
    .option("--port <number>", "0: any that is free", whole(0), 8000)
    .option(
      "--host <address>",
      "the address to listen on; others than this machine's need a key",
      "127.0.0.1",
    )
    .option("--api-key <key>", "what clients must send (default: SPA_API_KEY)")
    .option("--name <name>", "the model's name in requests (default: that of the folder, or the Hub id)")
    .option(
      "--adapter <name=folder>",
      "a LoRA adapter on the same weights; may be given several times",
      namedAdapter,
      [],
    )
    .option(
      "--slots <number>",
      "requests of a model that are sampled at the same time (default: 16)",
      whole(1),
    )
    .option(
      "--context <tokens>",
      "of a prompt and its reply (default: the run's protocol.maxTokens; up to 4096)",
      whole(2),
    )
    .option("--max-waiting <number>", "requests of a model that may wait (default: 256)", whole(0))
    .option("--timeout <seconds>", "that an answer may take (default: 600)", whole(1))
    .option(
      "--record <file>",
      "write sessions (calls with a session_id, and a reward) to this file of JSON lines",
    )
    .option("--follow", "take over the run's newest checkpoint whenever there is one")
    .option("--every <seconds>", "how often --follow looks", whole(1), 5)
    .addHelpText("after", help)
    .action(async (source: string | undefined, options: ServeOptions) => {
      finish(await serve(source ?? lastRun(), options));
    });
}

async function serve(source: string, options: ServeOptions): Promise<number> {
  const notices = {
    first: () => printError("closing: answers under way have 10 s; Ctrl-C again ends at once"),
    second: () => {},
  };
  await untilInterrupted(notices, async (signal) => {
    await using policies = await openPolicies(source, options, signal);
    const { host, port, maxWaiting, timeout } = options;
    const apiKey = options.apiKey ?? process.env.SPA_API_KEY;
    const { models } = policies;
    using sessions = options.record === undefined ? undefined : recordTo(options.record);
    const settings = { models, host, port, maxWaiting, timeout, sessions };
    await using server = await PolicyServer.start({ ...settings, ...(apiKey && { apiKey }) });
    for (const { name, fingerprint, sampler } of models)
      print(`${name}: ${fingerprint}, ${sampler.slots} slots of ${sampler.maxTokens} tokens`);
    const { current } = await policies.engine.memory();
    print(`memory: ${formatSize(current)}`);
    print(`serving on ${server.url}/v1`);
    const { every, stage } = options;
    if (options.follow)
      await follow(models[0], followed(policies.policy), { every, stage, signal, onNote: print });
    else if (!signal.aborted)
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  });
  return interruptionCode() ?? 0;
}

async function openPolicies(source: string, options: ServeOptions, signal: AbortSignal): Promise<Policies> {
  const { name, adapter: adapters, slots, context } = options;
  const progress = progressFor({ log: "auto" });
  const given = { ...loadOptions(options), name, adapters, slots, context, signal, progress };
  return await Policies.open(source, given);
}

/** Records sessions into a file, behind those that it has. */
function recordTo(path: string): SessionRecorder & Disposable {
  const log = new SessionLog(path);
  log.repair();
  const recorder = new SessionRecorder(log);
  return Object.assign(recorder, { [Symbol.dispose]: () => log.close() });
}

function followed(policy: LoadedPolicy): LoadedPolicy & { run: RunFolder } {
  const { run } = policy;
  if (run !== null) return { ...policy, run };
  throw new SpaError("BAD_ARGUMENT", `${policy.name} is no run, so that there is nothing to follow`, {
    hint: "leave --follow out, or name a run folder",
  });
}
