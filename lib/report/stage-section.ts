import type { StageRecord } from "../run/ledger.ts";
import { formatDuration } from "../run/progress.ts";
import { count } from "./format.ts";
import { type Html, html } from "./html.ts";
import { armColor, stageTitle } from "./names.ts";

/** What is said of a stage that is not done. */
const states: Readonly<Partial<Record<StageRecord["state"], string>>> = {
  running: "under way",
  skipped: "skipped",
};

/** What each stage took: time, tokens sampled, tokens trained on. */
export function stageSection(stages: readonly StageRecord[]): Html {
  const total = (key: "seconds" | "tokensSampled" | "tokensTrained") =>
    stages.reduce((sum, stage) => sum + stage[key], 0);
  const longest = Math.max(1e-9, ...stages.map(({ seconds }) => seconds));
  const rows = stages.map(
    ({
      id,
      state,
      seconds,
      tokensSampled,
      tokensTrained,
    }) => html`<tr><th scope="row"><span title="${id}">${stageTitle(id)}</span>${states[state] && html` <em>${states[state]}</em>`}</th>
<td>${duration(seconds)}</td>
<td class="bar" aria-hidden="true"><i class="arm-${armColor(id.replace(/^evaluate\//, ""))}" style="width:${((100 * seconds) / longest).toFixed(1)}%"></i></td>
<td>${tokens(tokensSampled)}</td><td>${tokens(tokensTrained)}</td>
<td>${seconds > 0 ? tokens((tokensSampled + tokensTrained) / seconds) : "–"}</td></tr>
`,
  );
  return html`<section id="stages">
<h2>Stages</h2>
<div class="scroll"><table class="stages">
<thead><tr><th scope="col">Stage</th><th scope="col">Time</th><td></td><th scope="col">Tokens sampled</th>
<th scope="col">Tokens trained</th><th scope="col">Tokens per second</th></tr></thead>
<tbody>${rows}</tbody>
<tfoot><tr><th scope="row">All</th><td>${duration(total("seconds"))}</td><td></td>
<td>${tokens(total("tokensSampled"))}</td><td>${tokens(total("tokensTrained"))}</td><td></td></tr></tfoot></table></div>
</section>`;
}

function duration(seconds: number): string {
  return seconds > 0 && seconds < 10 ? `${seconds.toFixed(1)}s` : formatDuration(seconds);
}

function tokens(value: number): string {
  return value === 0 ? "–" : count(value);
}
