import { describeRange, isHealthy } from "../metrics/metric.ts";
import { playMetrics } from "../metrics/play-metrics.ts";
import { type Evaluations, type Interval, ksOf, rateAt } from "../run/evaluation.ts";
import { describeLevels } from "../run/level-figures.ts";
import type { Results } from "../run/results.ts";
import { percent, points } from "./format.ts";
import { type Html, html } from "./html.ts";
import { armColor, armTitle, comparePolicies, policyAbout, policyTitle } from "./names.ts";
import { passCurves } from "./pass-curve.ts";
import { worldModelTables } from "./world-model-section.ts";

/** What the run has shown: key figures, the table with intervals, and pass rates by distance. */
export function resultSection(
  evaluations: Evaluations,
  drawn?: Results["levels"],
  untrained: Results["untrained"] = {},
): Html {
  const policies = Object.keys(evaluations).sort(comparePolicies);
  if (policies.length === 0) {
    return html`<section id="results"><h2>Results</h2><p class="empty">No policy has been evaluated yet.</p></section>`;
  }
  const { levels, samples } = evaluations[policies[0]];
  const ks = ksOf(Object.values(evaluations));
  return html`<section id="results">
<h2>Results</h2>
${keyFigures(evaluations, ks)}
<p class="note">${levels} held-out levels, ${samples} attempts at each. ${ks.length > 1 && `${ks.slice(1).map(passAt).join(" and ")}: the unbiased estimate. `}In brackets and as bars,
95 % intervals from a bootstrap over levels.</p>
${drawn && html`<p class="note">Levels by the number of actions in a shortest solution. Test: ${describeLevels(drawn.test)}. Tuning: ${describeLevels(drawn.tuning)}.${drawn.test.seenInTraining !== undefined && ` ${drawn.test.seenInTraining} of the ${drawn.test.count} test levels begin in a state of the fine-tuning data.`}</p>`}
${Object.entries(untrained).map(([arm, reason]) => html`<p class="note"><strong>${armTitle(arm)} has not been trained</strong>: ${reason}</p>`)}
${resultTable(policies, evaluations, ks)}
${passCurves(policies, evaluations)}
${distanceTable(policies, evaluations, ks)}
${worldModelTables(policies, evaluations)}
</section>`;
}

/** Cards that compare SPA with the control, and what SFT has taught. */
function keyFigures({ spa, control, sft }: Evaluations, ks: readonly number[]): Html {
  const cards: Html[] = [];
  for (const k of spa && control ? ks : []) {
    const [left, right] = [rateAt(k, spa, spa), rateAt(k, control, control)];
    if (left !== undefined && right !== undefined) cards.push(card(passAt(k), left, right));
  }
  if (sft) {
    cards.push(html`<div class="card"><h3>World model after SFT</h3>
<p class="figure">${percent(sft.predictionAccuracy)}</p>
<p>of predictions right (${percent(sft.predictionAccuracyChanged)} where the state changed), ${percent(sft.observationAccuracy)} of
observations</p>
${unhealthy("prediction_accuracy", "predictions", sft.predictionAccuracy)}${unhealthy("observation_accuracy", "observations", sft.observationAccuracy)}</div>`);
  }
  return html`<div class="cards">${cards}</div>`;
}

/** A mark where a figure is outside of what is healthy. */
function unhealthy(metric: string, what: string, value: number | null): Html | undefined {
  const range = playMetrics.find(({ name }) => name === metric)?.range;
  if (!range || value === null || isHealthy(value, range)) return undefined;
  return html`<p class="bad">⚠ ${what}: healthy is ${describeRange(range)}</p>`;
}

function passAt(k: number): string {
  return `Pass@${k}`;
}

function card(name: string, spa: number, control: number): Html {
  return html`<div class="card"><h3>${name}, SPA</h3>
<p class="figure">${percent(spa)}</p>
<p>control ${percent(control)}: <strong>${points(spa - control)} points</strong></p></div>`;
}

function resultTable(policies: readonly string[], evaluations: Evaluations, ks: readonly number[]): Html {
  const rows = policies.map((policy) => {
    const evaluation = evaluations[policy];
    const { ci95, formatRate, observationAccuracy, predictionAccuracy, predictionAccuracyChanged } =
      evaluation;
    return html`<tr><th scope="row">${policyTitle(policy)}<small>${policyAbout(policy)}</small></th>
${ks.map((k) => rateCell(policy, rateAt(k, evaluation, evaluation), rateAt(k, evaluation, ci95)))}
<td>${percent(formatRate)}</td><td>${percent(observationAccuracy)}</td><td>${percent(predictionAccuracy)}</td>
<td>${percent(predictionAccuracyChanged)}</td></tr>
`;
  });
  return html`<div class="scroll"><table class="results">
<thead><tr><th scope="col">Policy</th>${ks.map((k) => html`<th scope="col">${passAt(k)}</th>`)}
<th scope="col">Valid turns</th><th scope="col">Observations right</th><th scope="col">Predictions right</th>
<th scope="col">… where the state changed</th></tr></thead>
<tbody>${rows}</tbody></table></div>`;
}

/** The rate, its interval, and both drawn on a scale from 0 to 1. */
function rateCell(policy: string, rate: number | undefined, interval: Interval | undefined): Html {
  if (rate === undefined || interval === undefined) return html`<td>–</td>`;
  const [low, high] = interval;
  const at = (share: number) => (100 * share).toFixed(1);
  return html`<td class="rate"><b>${percent(rate)}</b> <span class="interval">[${at(low)}, ${at(high)}]</span>
<span class="scale arm-${armColor(policy)}" aria-hidden="true"><i style="left:${at(low)}%;width:${at(high - low)}%"></i><b style="left:${at(rate)}%"></b></span></td>`;
}

/** Pass@1 by the length of a shortest solution. */
function distanceTable(
  policies: readonly string[],
  evaluations: Evaluations,
  ks: readonly number[],
): Html | undefined {
  const distances = [...new Set(policies.flatMap((policy) => Object.keys(evaluations[policy].byDistance)))];
  const known = distances.filter((distance) => distance !== "unknown");
  if (known.length === 0) return undefined;
  const first = evaluations[policies[0]].byDistance;
  const rows = policies.map((policy) => {
    const cells = distances.map((distance) => {
      const rates = evaluations[policy].byDistance[distance];
      if (!rates) return html`<td>–</td>`;
      const further = ks
        .slice(1)
        .map((k) => `${passAt(k)} ${percent(rateAt(k, evaluations[policy], rates))}`);
      return html`<td class="heat" style="--share:${rates.passAt1.toFixed(3)}" title="${further.join(", ")}">${(100 * rates.passAt1).toFixed(0)}</td>`;
    });
    return html`<tr><th scope="row">${policyTitle(policy)}</th>${cells}</tr>
`;
  });
  return html`<h3>Pass@1 by distance</h3>
<p class="note">Per cent, by the number of actions in a shortest solution of the level.</p>
<div class="scroll"><table class="distance">
<thead><tr><th scope="col">Distance</th>${distances.map((distance) => html`<th scope="col">${distance}</th>`)}</tr>
<tr class="levels"><th scope="row">Levels</th>${distances.map((distance) => html`<td>${first[distance]?.levels ?? "–"}</td>`)}</tr></thead>
<tbody>${rows}</tbody></table></div>`;
}
