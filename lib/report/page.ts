import { stringify } from "yaml";
import type { Results } from "../run/results.ts";
import type { RunFolder } from "../run/run-folder.ts";
import { describeStart } from "../stages/source-stage.ts";
import { chartSection } from "./chart-section.ts";
import { chartSections } from "./charts.ts";
import { chooseTrajectories } from "./choose-trajectories.ts";
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
    facts: facts(run).join(" · "),
    sections: [
      ["results", "Results"],
      ["curves", "Curves"],
      ["stages", "Stages"],
      ["trajectories", "Trajectories"],
      ["configuration", "Configuration"],
    ],
    main: html`${resultSection(results?.evaluations ?? {}, results?.levels, results?.untrained)}
${chartSection(chartSections(run.metrics.rows()))}
${stageSection(run.stages)}
${trajectorySection(chooseTrajectories(run), config.protocol.traceState)}
<section id="configuration"><h2>Configuration</h2>
<details class="settings"><summary><code>config.yaml</code> with every setting</summary><pre class="text">${stringify(config)}</pre></details></section>`,
    scripts: [moduleScript("uplot/dist/uPlot.iife.min.js"), asset("report.js")],
  });
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
