import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { stringify } from "yaml";
import { packageRoot, packageVersion } from "../package.ts";
import type { Results } from "../run/results.ts";
import type { RunFolder } from "../run/run-folder.ts";
import { describeStart } from "../stages/source-stage.ts";
import { roleColors, roleNames } from "../text/roles.ts";
import { chartSection } from "./chart-section.ts";
import { chartSections } from "./charts.ts";
import { chooseTrajectories } from "./choose-trajectories.ts";
import { Html, html } from "./html.ts";
import { resultSection } from "./result-section.ts";
import { stageSection } from "./stage-section.ts";
import { trajectorySection } from "./trajectory-section.ts";

/** The report of a run as one HTML page that needs nothing else: style, scripts and data stand in it. */
export function renderPage(run: RunFolder, results: Results | undefined): string {
  const { config, name } = run;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="spa-ai ${packageVersion()}">
<title>${name} · spa-ai</title>
<style>${styles()}</style>
</head>
<body>
<header>
<h1>${name}</h1>
<p>${facts(run).join(" · ")}</p>
<nav aria-label="Sections"><a href="#results">Results</a> <a href="#curves">Curves</a> <a href="#stages">Stages</a>
<a href="#trajectories">Trajectories</a> <a href="#configuration">Configuration</a></nav>
</header>
<main>
${resultSection(results?.evaluations ?? {}, results?.levels)}
${chartSection(chartSections(run.metrics.rows()))}
${stageSection(run.stages)}
${trajectorySection(chooseTrajectories(run), config.protocol.traceState)}
<section id="configuration"><h2>Configuration</h2>
<details class="settings"><summary><code>config.yaml</code> with every setting</summary><pre class="text">${stringify(config)}</pre></details></section>
</main>
<footer>Written by spa-ai ${packageVersion()}. Each metric is explained in docs/metrics.md.</footer>
<script>${script("uplot/dist/uPlot.iife.min.js")}</script>
<script>${asset("report.js")}</script>
</body>
</html>
`;
  return page.text;
}

function facts(run: RunFolder): string[] {
  const { config, stages } = run;
  const running = stages.filter(({ state }) => state === "running");
  const start = describeStart(config);
  const state = stages.length === 0 ? "not begun" : running.length === 0 ? "" : `${running[0].id} under way`;
  return [
    `preset ${config.preset}`,
    config.environment.name,
    `seed ${config.seed}`,
    ...(start === undefined ? [] : [start]),
    `started ${run.created.slice(0, 16).replace("T", " ")} UTC`,
    ...(state === "" ? [] : [state]),
  ];
}

/** uPlot's style, the report's, and the colours of the roles. */
function styles(): Html {
  const light = roleNames.map((role) => `--role-${role}:${roleColors[role].css};`).join("");
  const rules = roleNames.map((role) => `.role-${role}{--role:var(--role-${role})}`).join("");
  return new Html(
    `${readModule("uplot/dist/uPlot.min.css")}\n:root{${light}}\n${asset("report.css").text}\n${rules}`,
  );
}

/** A script of this package's own dependencies; `</` could end the element that holds it. */
function script(module: string): Html {
  return new Html(readModule(module).replaceAll("</", "<\\/"));
}

function readModule(module: string): string {
  return readFileSync(createRequire(import.meta.url).resolve(module), "utf8");
}

function asset(file: string): Html {
  return new Html(readFileSync(join(packageRoot(), "lib", "report", "assets", file), "utf8"));
}
