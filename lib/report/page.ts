import { stringify } from "yaml";
import type { Results } from "../run/results.ts";
import type { RunFolder } from "../run/run-folder.ts";
import { chartSection } from "./chart-section.ts";
import { chartSheet } from "./charts.ts";
import { chooseTrajectories } from "./choose-trajectories.ts";
import { reportHeader } from "./header.ts";
import { html } from "./html.ts";
import { resultSection } from "./result-section.ts";
import { asset, moduleScript, renderShell } from "./shell.ts";
import { stageSection } from "./stage-section.ts";
import { trajectorySection } from "./trajectory-section.ts";

/** The report of a run as one HTML page. */
export function renderPage(run: RunFolder, results: Results | undefined): string {
  const { config, name } = run;
  return renderShell({
    title: name,
    facts: reportHeader(run),
    sections: [
      ["results", "Results"],
      ["curves", "Curves"],
      ["stages", "Stages"],
      ["trajectories", "Trajectories"],
      ["configuration", "Configuration"],
    ],
    main: html`${resultSection(results?.evaluations ?? {}, results?.levels, results?.untrained)}
${chartSection(chartSheet([{ name, metrics: run.metrics.rows() }]))}
${stageSection(run.stages)}
${trajectorySection(chooseTrajectories(run), config.protocol.traceState)}
<section id="configuration"><h2>Configuration</h2>
<details class="settings"><summary><code>config.yaml</code> with every setting</summary><pre class="text">${stringify(config)}</pre></details></section>`,
    scripts: [moduleScript("uplot/dist/uPlot.iife.min.js"), asset("charts.js"), asset("report.js")],
  });
}
