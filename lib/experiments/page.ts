import { basename } from "node:path";
import { type Html, html } from "../report/html.ts";
import { renderShell } from "../report/shell.ts";
import { type Figure, renderFigure } from "./figure.ts";
import type { ExperimentResults } from "./results.ts";
import { type Estimate, meanOf } from "./statistics.ts";
import {
  differenceTable,
  distanceTable,
  perplexityTable,
  resultTable,
  settingsTable,
  shownKs,
  type Table,
  tuningTable,
} from "./table.ts";

/** An experiment's report as one HTML page. */
export function renderExperiment(results: ExperimentResults): string {
  const { experiment, claim, source, about, preset, settings, seeds, missing } = results;
  const ks = shownKs(results);
  const figures = figuresOf(results);
  return renderShell({
    title: `Experiment ${experiment}`,
    facts: [preset, ...settings, `seeds ${seeds.join(", ")}`].join(" · "),
    sections: [
      ["claim", "Claim"],
      ["results", "Results"],
      ["differences", "Differences"],
      ["curves", "Curves"],
      ["distances", "Distances"],
      ["states", "States"],
      ["arms", "Arms"],
    ],
    main: html`<section id="claim"><h2>Claim</h2><p>${claim} (${source})</p><p>${about}</p>
${missing.length > 0 && html`<p class="note">Not all is done: ${missing.length} runs are missing.</p>`}</section>
<section id="results"><h2>Results</h2>
<p class="note">Means over seeds; 95 % intervals of Pass@k over seeds and test levels (bootstrap over both). Tokens: what came after the base,
sampled and trained on.</p>
${tableOf(resultTable(results, ks))}</section>
<section id="differences"><h2>Differences</h2><p class="note">Of the same seeds on the same levels; an interval without 0 is a difference.</p>
${tableOf(differenceTable(results, ks))}</section>
<section id="curves"><h2>Curves</h2><p class="note">Means over seeds, of long curves moving means over a tenth of them; bands are 95 % intervals (Student's t).</p>
${figures.map(([, figure]) => html`<figure>${renderFigure(figure)}</figure>`)}</section>
<section id="distances"><h2>Pass@1 by distance</h2><p class="note">By the number of actions in a shortest solution.</p>
${tableOf(distanceTable(results))}</section>
<section id="states"><h2>True states</h2><p class="note">How well models foretell them, under random play on tuning levels: nats for a whole state, and perplexity per token.
Tokens differ between ways of writing states, so that only nats can be compared there.</p>
${tableOf(perplexityTable(results))}</section>
<section id="arms"><h2>Arms</h2>${tableOf(settingsTable(results.arms))}${runLinks(results)}${tuningNote(results)}</section>`,
  });
}

/** The reports of the arms' runs: `<root>/runs/<run>` beside the experiment's own folder. */
function runLinks({ arms }: ExperimentResults): Html {
  const linked = Object.entries(arms).map(([name, { folders }]) => {
    const links = folders
      .map((folder) => basename(folder))
      .map((run) => html` <a href="../runs/${encodeURIComponent(run)}/report.html">${run}</a>`);
    return html`<li>${name}:${links}</li>`;
  });
  return html`<h3>Reports of the runs</h3><ul>${linked}</ul>`;
}

/** How the arms' settings were chosen. */
function tuningNote(results: ExperimentResults): Html | false {
  if (results.tuning === null) return false;
  const { candidates, seed } = results.tuning;
  return html`<h3>Tuning</h3><p class="note">Every arm had the same trials, ${candidates.length}, with seed ${seed}; Pass@1 on the tuning levels, which are not the
reported ones. Each arm's best is what it was run with.</p>
${tableOf(tuningTable(results))}`;
}

/** Every figure of the report as an SVG file: name without extension, content. */
export function renderFigures(results: ExperimentResults): [name: string, svg: string][] {
  return figuresOf(results).map(([name, figure]) => [name, `${renderFigure(figure).text}\n`]);
}

function figuresOf(results: ExperimentResults): [name: string, figure: Figure][] {
  // The arm that the others are compared with comes last in tables; here it has the first colour everywhere.
  const arms = Object.keys(results.arms).reverse();
  const drawn = [...arms, "random"];
  const passed = results.rows.filter(
    ({ name, passAt }) => drawn.includes(name) && Object.keys(passAt).length > 2,
  );
  const attempts: Figure = {
    title: "Pass@k, by the number of attempts k",
    xTitle: "attempts k",
    share: true,
    logarithmic: true,
    lines: passed.map(({ name, passAt }) => ({
      name,
      color: drawn.indexOf(name),
      points: Object.entries(passAt).map(([k, estimate]) => ({ x: Number(k), ...estimate })),
    })),
  };
  const curves = results.curves.map(({ metric, title, share, arms: byArm }): [string, Figure] => [
    metric.replaceAll("_", "-"),
    {
      title,
      xTitle: "PPO step",
      share,
      lines: Object.entries(byArm).map(([name, { steps, values }]) => {
        const means = smoothed(values);
        const points = steps.map((x, index) => ({ x, ...means[index] }));
        return { name, color: drawn.indexOf(name), points };
      }),
    },
  ]);
  return passed.length === 0 ? curves : [["pass-at-k", attempts], ...curves];
}

/** Moving means of a long curve and of the ends of its intervals, over a tenth of it. */
function smoothed(values: readonly Estimate[]): Estimate[] {
  const reach = values.length < 30 ? 0 : Math.round(values.length / 20);
  return values.map((_, index) => {
    const near = values.slice(Math.max(0, index - reach), index + reach + 1);
    const mean = (figure: (value: Estimate) => number) => meanOf(near.map(figure));
    return {
      mean: mean((value) => value.mean),
      interval: [mean(({ interval }) => interval[0]), mean(({ interval }) => interval[1])],
    };
  });
}

function tableOf({ header, rows }: Table): Html {
  const line = ([name, ...cells]: readonly string[]) =>
    html`<tr><th scope="row">${name}</th>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>\n`;
  return html`<div class="scroll"><table><thead><tr>${header.map((title) => html`<th scope="col">${title}</th>`)}</tr></thead>
<tbody>${rows.map(line)}</tbody></table></div>`;
}
