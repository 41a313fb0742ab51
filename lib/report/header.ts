import { changedSettings } from "../config/difference.ts";
import { formatDuration } from "../run/progress.ts";
import type { RunFolder } from "../run/run-folder.ts";
import { describeStart } from "../stages/source-stage.ts";
import { count } from "./format.ts";
import { type Html, html } from "./html.ts";
import { stageTitle } from "./names.ts";

/** What a run is: its origin, seeds, code, machine, and what it has cost so far. */
export function reportHeader(run: RunFolder): Html {
  const { seed, environment } = run.config;
  const facts: [name: string, text: Html | string | undefined][] = [
    ["State", stateOf(run)],
    ["Preset", preset(run)],
    ["Environment", environment.name],
    ["Start", describeStart(run.config)],
    ["Seeds", seedsOf(run, seed)],
    ["Code", distinct(run.sessions.map(({ package: version, commit }) => codeOf(version, commit)))],
    ["Machine", distinct(run.sessions.map(({ machine }) => machine))],
    ["Time", times(run)],
    ["Tokens", tokens(run)],
  ];
  return html`<dl class="facts">${facts
    .filter(([, text]) => text !== undefined && text !== "")
    .map(([name, text]) => html`<div><dt>${name}</dt><dd>${text}</dd></div>`)}</dl>`;
}

function stateOf({ stages }: RunFolder): string {
  const running = stages.find(({ state }) => state === "running");
  if (running) return `${stageTitle(running.id)} under way`;
  return stages.length === 0
    ? "not begun"
    : `${stages.filter(({ state }) => state === "done").length} stages done`;
}

function preset({ config }: RunFolder): Html {
  const { from, changes } = changedSettings(config);
  const named = from === config.preset ? "" : `, of ${from}`;
  if (changes.length === 0) return html`${config.preset}`;
  return html`${config.preset} <details><summary>${changes.length} ${changes.length === 1 ? "setting" : "settings"} changed${named}</summary>
<ul>${changes.map(({ path, here, there }) => html`<li><code>${path}</code> ${shown(here)} <small>instead of ${shown(there)}</small></li>`)}</ul></details>`;
}

function shown(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value);
}

function seedsOf({ config: { levels } }: RunFolder, seed: number): string {
  return `run ${seed}; levels from ${levels.trainSeed} (training), ${levels.tuningSeed} (tuning), ${levels.testSeed} (test)`;
}

function codeOf(version: string, commit: string | undefined): string {
  return `spa-ai ${version}${commit === undefined ? "" : `, commit ${commit}`}`;
}

/** What all sessions have in common once, else each. */
function distinct(texts: readonly string[]): string {
  return [...new Set(texts)].join("; then ");
}

function times({ sessions, created, stages }: RunFolder): string {
  const worked = stages.reduce((sum, { seconds }) => sum + seconds, 0);
  const wall = sessions.reduce(
    (sum, { began, ended }) => sum + (Date.parse(ended) - Date.parse(began)) / 1000,
    0,
  );
  const parts = [
    `began ${created.slice(0, 16).replace("T", " ")} UTC`,
    ...(wall > 0
      ? [
          `${formatDuration(wall)} in ${sessions.length === 1 ? "one session" : `${sessions.length} sessions`}`,
        ]
      : []),
    ...(worked > 0 ? [`stages done worked ${formatDuration(worked)}`] : []),
  ];
  return parts.join("; ");
}

function tokens({ stages }: RunFolder): string | undefined {
  const total = (key: "tokensSampled" | "tokensTrained") =>
    stages.reduce((sum, stage) => sum + stage[key], 0);
  const [sampled, trained] = [total("tokensSampled"), total("tokensTrained")];
  return sampled + trained === 0 ? undefined : `${count(sampled)} sampled, ${count(trained)} trained on`;
}
