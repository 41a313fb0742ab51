import type { Chart, ChartSection } from "./charts.ts";
import { embedJson, type Html, html } from "./html.ts";

/** Curves of all training stages. The page's script draws them; without it their summaries can be read. */
export function chartSection(sections: readonly ChartSection[]): Html {
  if (sections.length === 0) {
    return html`<section id="curves"><h2>Curves</h2><p class="empty">No stage has logged metrics yet.</p></section>`;
  }
  const data = sections.flatMap(({ charts, more }) => [...charts, ...more]);
  return html`<section id="curves">
<h2>Curves</h2>
<p class="note">Thin lines are the figures of each step, thick ones their moving mean. Move over a chart to read it.</p>
${sections.map(renderSection)}
<script type="application/json" id="chart-data">${embedJson(data)}</script>
</section>`;
}

function renderSection({ title, charts, more }: ChartSection): Html {
  return html`<h3>${title}</h3>
<div class="charts">${charts.map(renderChart)}</div>
${more.length > 0 && html`<details class="more"><summary>${more.length} more about ${title}</summary><div class="charts">${more.map(renderChart)}</div></details>`}
`;
}

function renderChart({ id, title, about, summary }: Chart): Html {
  return html`<figure class="chart">
<h4>${title}</h4>
<div class="plot" id="${id}" role="img" aria-label="${title}: ${summary}"></div>
<figcaption>${about}<span class="summary">${summary}</span></figcaption>
</figure>
`;
}
