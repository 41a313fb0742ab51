import type { Chart, ChartSection, ChartSheet } from "./charts.ts";
import { embedJson, type Html, html } from "./html.ts";

/** Curves of all training stages. The page's script draws them; without it their summaries can be read. */
export function chartSection({ sections, columns }: ChartSheet): Html {
  if (sections.length === 0) {
    return html`<section id="curves"><h2>Curves</h2><p class="empty">No stage has logged metrics yet.</p></section>`;
  }
  const charts = sections.flatMap(({ charts, more }) => [...charts, ...more]);
  return html`<section id="curves">
<h2>Curves</h2>
<p class="note">Thin lines are the figures of each step, thick ones their moving mean. Move over a chart to read all of them at one place; drag
across a chart to zoom in, double-click to see all again.</p>
${warnings(charts)}
${controls}
${sections.map(renderSection)}
<script type="application/json" id="chart-data">${embedJson({ charts, columns })}</script>
</section>`;
}

/** How the curves are drawn; the page's script sees to it. */
const controls = html`<form class="chart-controls" id="chart-controls" hidden>
<label>Over <select name="axis"><option value="step">steps</option><option value="tokens">tokens seen</option><option value="time">working time</option></select></label>
<label>Smoothing <input name="smoothing" type="range" min="0" max="0.5" step="0.01" value="0.1"></label>
</form>`;

/** What ends outside of its healthy range. */
function warnings(charts: readonly Chart[]): Html | undefined {
  const found = charts.filter(({ outside }) => outside.length > 0);
  if (found.length === 0) return undefined;
  return html`<div class="card warnings"><h3>Outside of the healthy range at their ends</h3>
<ul>${found.map(({ id, title, outside }) => html`<li><a href="#${id}">${title}</a>: ${outside.join("; ")}</li>`)}</ul></div>`;
}

function renderSection({ title, charts, more }: ChartSection): Html {
  return html`<h3>${title}</h3>
<div class="charts">${charts.map(renderChart)}</div>
${more.length > 0 && html`<details class="more"><summary>${more.length} more about ${title}</summary><div class="charts">${more.map(renderChart)}</div></details>`}
`;
}

function renderChart({ id, title, about, summary, outside }: Chart): Html {
  return html`<figure class="chart">
<h4>${title}</h4>
<div class="plot" id="${id}" role="img" aria-label="${title}: ${summary}"></div>
<figcaption>${about}<span class="summary">${summary}</span>${outside.map((text) => html`<span class="summary bad">⚠ ${text}</span>`)}
<span class="chart-files" hidden><button type="button" data-file="csv">CSV</button> <button type="button" data-file="png">PNG</button></span></figcaption>
</figure>
`;
}
