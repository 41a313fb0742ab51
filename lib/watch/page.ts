import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { packageRoot } from "../package.ts";
import { type Html, html } from "../report/html.ts";
import { styles } from "../report/shell.ts";
import { invalidReasons } from "../text/parse.ts";

const file = (...parts: string[]) => readFileSync(join(packageRoot(), "lib", ...parts), "utf8");
const uplot = () =>
  readFileSync(createRequire(import.meta.url).resolve("uplot/dist/uPlot.iife.min.js"), "utf8");

const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M1 14 6 6l4 4 5-8" fill="none" stroke="#0a66c2" stroke-width="2"/></svg>`;

const assets: Readonly<Record<string, { type: string; read: () => string }>> = {
  "page.css": { type: "text/css", read: () => `${styles().text}\n${file("watch", "assets", "watch.css")}` },
  "icon.svg": { type: "image/svg+xml", read: () => icon },
  "uplot.js": { type: "text/javascript", read: uplot },
  "charts.js": { type: "text/javascript", read: () => file("report", "assets", "charts.js") },
  "watch.js": { type: "text/javascript", read: () => file("watch", "assets", "watch.js") },
};

/** What the page refers to; undefined for anything else. */
export function pageAsset(name: string): { type: string; content: string } | undefined {
  if (!Object.hasOwn(assets, name)) return undefined;
  const { type, read } = assets[name];
  return { type: `${type}; charset=utf-8`, content: read() };
}

/** The page without its data, which its script asks for. */
export function watchPage(): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Runs · spa-ai</title>
<link rel="icon" type="image/svg+xml" href="icon.svg">
<link rel="stylesheet" href="page.css">
<script src="uplot.js" defer></script>
<script src="charts.js" defer></script>
<script src="watch.js" defer></script>
</head>
<body>
<header><h1>Runs</h1>
<nav aria-label="Sections"><a href="#runs">Runs</a> <a href="#settings">Settings</a> <a href="#curves-of-runs">Curves</a> <a href="#trajectories">Trajectories</a></nav>
<p id="status" role="status">Connecting …</p></header>
<main>
<section id="runs">
<p><label>Filter <input id="filter" type="search" placeholder="name, preset, tag …"></label></p>
<div class="scroll"><table><thead><tr><th scope="col">Run</th><th scope="col">State</th><th scope="col">Preset</th><th scope="col">Seed</th><th scope="col">Worked</th>
<th scope="col">Tokens</th><th scope="col">Tags</th><th scope="col"></th></tr></thead><tbody id="run-rows"></tbody></table></div>
</section>
<details class="settings" id="settings"><summary>Differing settings</summary><div id="setting-table"></div></details>
<div id="curves-of-runs"></div>
<section id="trajectories">
<h2>Trajectories</h2>
<form id="query" class="chart-controls">
<label>Run <select name="run"></select></label>
<label>Stage <select name="stage"></select></label>
<label>Step <input name="step" type="range" min="0" max="0" value="0"> <output name="shown-step"></output></label>
<label>Solved <select name="success"><option value="">either</option><option>yes</option><option>no</option></select></label>
<label>Distance <select name="distance"><option value="">any</option></select></label>
<label>Invalid <select name="reason"><option value="">or not</option>${invalidReasons.map((reason) => html`<option>${reason}</option>`)}</select></label>
<label>Text <input name="text" type="search"></label>
</form>
<div class="two-panes"><ol id="found" aria-label="Found trajectories"></ol><div id="trajectory"><p class="empty">Choose a trajectory.</p></div></div>
<p><button type="button" id="compare" hidden>The same level under every policy</button></p><div id="level"></div>
</section>
</main>
</body>
</html>
`;
}
