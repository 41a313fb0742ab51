import { SpaError } from "../errors.ts";
import { chartSection } from "../report/chart-section.ts";
import { chartSheet } from "../report/charts.ts";
import { type Html, html } from "../report/html.ts";
import { stageTitle } from "../report/names.ts";
import type { RunFolder } from "../run/run-folder.ts";
import type { TrajectoryEntry } from "../run/trajectory-log.ts";
import { resumeRun, stopRun } from "./control.ts";
import { watchPage } from "./page.ts";
import { findTrajectories, levelPage, type TrajectoryQuery, trajectoryPage } from "./trajectory-page.ts";
import { settingTable, type WatchedRuns } from "./watched-runs.ts";

/** Answers a request of the page: with markup, or with what becomes JSON. @throws SpaError for what there is not */
type Route = (query: URLSearchParams, runs: WatchedRuns) => Html | object;

/** By method and path; `run` names a run, several where there may be several. */
export const routes: Readonly<Record<string, Route>> = {
  "GET ": () => watchPage(),
  "GET charts": (query, runs) => charts(chosenRuns(query, runs)),
  "GET settings": (query, runs) => settings(chosenRuns(query, runs)),
  "GET stages": (query, runs) => {
    const run = chosenRun(query, runs);
    return run.stagesWithTrajectories().map((stage) => describeStage(stage, run.trajectories(stage).index()));
  },
  "GET trajectories": (query, runs) =>
    findTrajectories(chosenRun(query, runs), query.get("stage") ?? "", queryOf(query)),
  "GET trajectory": (query, runs) => {
    const [run, stage] = [chosenRun(query, runs), query.get("stage") ?? ""];
    return trajectoryPage(run, stage, entryAt(run, stage, Number(query.get("line"))));
  },
  "GET level": (query, runs) => levelPage(chosenRun(query, runs), Number(query.get("seed"))),
  "POST stop": (query, runs) => {
    stopRun(chosenRun(query, runs));
    return {};
  },
  "POST resume": (query, runs) => {
    resumeRun(chosenRun(query, runs));
    return {};
  },
};

function chosenRun(query: URLSearchParams, runs: WatchedRuns): RunFolder {
  return runs.named(query.get("run"));
}

function chosenRuns(query: URLSearchParams, runs: WatchedRuns): RunFolder[] {
  return query.getAll("run").map((name) => runs.named(name));
}

function charts(runs: readonly RunFolder[]): Html {
  return chartSection(chartSheet(runs.map(({ name, metrics }) => ({ name, metrics: metrics.rows() }))));
}

/** The settings that runs differ in, a column a run. */
function settings(runs: readonly RunFolder[]): Html {
  const rows = runs.length < 2 ? [] : settingTable(runs);
  if (runs.length < 2) return html`<p class="empty">Choose two runs or more to compare their settings.</p>`;
  if (rows.length === 0) return html`<p class="empty">These runs have the same settings.</p>`;
  const shown = (value: unknown) => (value === undefined ? "–" : JSON.stringify(value));
  return html`<div class="scroll"><table>
<thead><tr><th scope="col">Setting</th>${runs.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>${rows.map(
    ({ path, values }) =>
      html`<tr><th scope="row"><code>${path}</code></th>${values.map((value) => html`<td>${shown(value)}</td>`)}</tr>`,
  )}</tbody></table></div>`;
}

/** A stage with what its trajectories can be chosen by. */
function describeStage(stage: string, entries: readonly TrajectoryEntry[]): object {
  const ascending = (values: readonly number[]) => [...new Set(values)].sort((left, right) => left - right);
  return {
    stage,
    title: stageTitle(stage),
    steps: ascending(entries.map(({ step }) => step)),
    distances: ascending(entries.flatMap(({ distance }) => distance ?? [])),
  };
}

function entryAt(run: RunFolder, stage: string, line: number): TrajectoryEntry {
  const isKnown = run.stagesWithTrajectories().includes(stage);
  const entry = isKnown ? run.trajectories(stage).index()[line - 1] : undefined;
  if (entry) return entry;
  throw new SpaError("UNKNOWN_NAME", "there is no such trajectory");
}

function queryOf(query: URLSearchParams): TrajectoryQuery {
  const text = (name: string) => query.get(name) || undefined;
  const number = (name: string) => (text(name) === undefined ? undefined : Number(text(name)));
  const success = text("success");
  const given = {
    step: number("step"),
    distance: number("distance"),
    seed: number("seed"),
    reason: text("reason"),
    text: text("text"),
    success: success === undefined ? undefined : success === "yes",
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
