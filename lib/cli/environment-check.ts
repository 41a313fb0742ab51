import type { Command } from "commander";
import { environmentDescription } from "../../envs/index.ts";
import { environmentFactory } from "../pipeline.ts";
import type { Finding } from "../rollout/contract.ts";
import { checkEnvironment } from "../stages/environment-check.ts";
import { modelForEstimates } from "../stages/model-shape.ts";
import { print, printJson } from "./print.ts";
import { readRequest, requestedConfig } from "./run-options.ts";

const help = `
Plays 200 random episodes and tries what a run relies on: types of all answers, levels by seed and as text, the same
steps again, two episodes at once, state and restore, both views; then lengths in tokens, the random policy's score,
speed, and whether timers or sockets are left. docs/environments.md has the interface.

Settings are those of train: the environment's options, and the model whose tokens count (nano by default).

Examples:
  spa env check ./mine.mjs
  spa env check ./mine.mjs environment.options.size=6 protocol.maxTokens=2048
  spa env check sokoban nano-sokoban --json

Exit code 2: something is wrong.`;

interface CheckOptions {
  json?: boolean;
}

/** `spa env check`. */
export function addEnvironmentCommand(program: Command, finish: (code: number) => void): void {
  program
    .command("env")
    .description("look at an environment")
    .command("check")
    .description("find what is wrong with an environment before anything is trained on it")
    .argument("<environment>", "a registered name, or a JavaScript file as for --env")
    .argument("[settings...]", "a preset or a .yaml file, and key=value settings (docs/configuration.md)")
    .option("--json", "print the findings as JSON")
    .addHelpText("after", help)
    .action(async (environment: string, settings: string[], options: CheckOptions) =>
      finish(await check(environment, settings, options)),
    );
}

async function check(environment: string, args: string[], { json = false }: CheckOptions): Promise<number> {
  const held = openResources();
  const { source, settings } = readRequest(args);
  const isFile = /[./\\]/.test(environment);
  const named = isFile ? settings : [`environment.name=${environment}`, ...settings];
  const config = await requestedConfig(
    { source, settings: named },
    { log: "auto", ...(isFile && { env: environment }) },
  );
  const { tokenizer } = await modelForEstimates(config);
  const findings: Finding[] = [];
  const report = (finding: Finding) => {
    const isKnown = findings.some(({ found }) => found === finding.found);
    findings.push(finding);
    if (!json) print(line(isKnown ? { ...finding, found: "as above", hint: undefined } : finding));
  };
  const { name } = config.environment;
  if (!json) print([name, environmentDescription(name)].filter((text) => text !== "").join(": "));
  for await (const finding of checkEnvironment(config, tokenizer, await environmentFactory(config))) {
    report(finding);
  }
  report(leftOpen(await newResources(held)));
  const faults = findings.filter(({ verdict }) => verdict === "fault").length;
  if (json) printJson({ environment: name, faults, findings: findings.map(plain) }, 2);
  else print(faults === 0 ? "\nNothing is wrong." : `\n${faults} wrong: see docs/environments.md.`);
  return faults === 0 ? 0 : 2;
}

const marks = { ok: "ok   ", note: "note ", fault: "FAULT" };

function line({ check, verdict, found, hint }: Finding): string {
  const advice = hint !== undefined && verdict !== "ok" ? `\n         hint: ${hint}` : "";
  return `  ${marks[verdict]}  ${check}: ${found}${advice}`;
}

function plain({ check, verdict, found, hint }: Finding) {
  return { check, verdict, found, ...(hint !== undefined && { hint }) };
}

/** What keeps the process alive, by kind. */
function openResources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

/** Kinds of which there are more than before, once what is about to end has ended. */
async function newResources(before: ReadonlyMap<string, number>): Promise<string[]> {
  await new Promise((resolve) => setTimeout(resolve, 20));
  return [...openResources()].flatMap(([kind, count]) => (count > (before.get(kind) ?? 0) ? [kind] : []));
}

function leftOpen(kinds: string[]): Finding {
  const check = "open handles";
  if (kinds.length === 0)
    return { check, verdict: "ok", found: "nothing is left that keeps a process alive" };
  return {
    check,
    verdict: "note",
    found: `left behind: ${kinds.join(", ")}; the command line ends all the same, a service does not`,
    hint: "end timers, sockets and workers in close()",
  };
}
