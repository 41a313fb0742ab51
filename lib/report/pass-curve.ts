import { allKsOf, type Evaluations, rateAt } from "../run/evaluation.ts";
import { percent } from "./format.ts";
import { type Html, html } from "./html.ts";
import { policyTitle, stageColors } from "./names.ts";

/** Size of the drawing and room for its labels, in its own units. */
const [width, height, left, bottom, top, right] = [720, 320, 48, 36, 8, 12];

interface Curve {
  policy: string;
  color: number;
  points: { k: number; rate: number; low: number; high: number }[];
}

/**
 * Pass@k over k, a line a policy with its 95 % band: where attempts differ the line rises, where a policy has one line of play
 * it stays flat. Only of policies with more than two k; undefined where there are none.
 *
 * @param policies in the order of the legend
 */
export function passCurves(policies: readonly string[], evaluations: Evaluations): Html | undefined {
  const colors = stageColors(policies);
  const all = policies.map((policy) => curveOf(policy, colors.get(policy)!, evaluations));
  const curves = all.filter(({ points }) => points.length > 2);
  if (curves.length === 0) return undefined;
  const last = Math.max(...curves.flatMap(({ points }) => points.map(({ k }) => k)));
  const x = (k: number) => left + (Math.log2(k) / Math.log2(last)) * (width - left - right);
  return html`<h3>Pass@k over k</h3>
<p class="note">Probability that one of k attempts at a level succeeds; the bands are 95 % intervals over levels. A line that is above another
at 1 and below it at the right end has paid for its success with variety.</p>
<figure class="pass-curve">
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${curves.map(summarize).join("; ")}">
${[0, 0.25, 0.5, 0.75, 1].map(shareLine)}
${ticks(last).map((k) => html`<text x="${fixed(x(k))}" y="${height - bottom + 18}" text-anchor="middle">${k}</text>`)}
${curves.map(({ color, points }) => html`<polygon class="arm-${color}" points="${band(points, x)}"/>`)}
${curves.map(({ color, points }) => html`<polyline class="arm-${color}" points="${points.map(({ k, rate }) => `${fixed(x(k))},${fixed(y(rate))}`).join(" ")}"/>`)}
</svg>
<figcaption class="legend">${curves.map(({ policy, color }) => html`<span class="arm-${color}">${policyTitle(policy)}</span>`)}</figcaption>
</figure>`;
}

function curveOf(policy: string, color: number, evaluations: Evaluations): Curve {
  const evaluation = evaluations[policy];
  const points = allKsOf(evaluation).flatMap((k) => {
    const rate = rateAt(k, evaluation, evaluation);
    const interval = rateAt(k, evaluation, evaluation.ci95);
    return rate === undefined || interval === undefined
      ? []
      : [{ k, rate, low: interval[0], high: interval[1] }];
  });
  return { policy, color, points };
}

/** Powers of two, and where the curves end. */
function ticks(last: number): number[] {
  const powers = Array.from({ length: Math.floor(Math.log2(last)) + 1 }, (_, index) => 2 ** index);
  return [...powers.filter((k) => k * 1.25 <= last), last];
}

function shareLine(share: number): Html {
  const at = fixed(y(share));
  return html`<line x1="${left}" x2="${width - right}" y1="${at}" y2="${at}"/>
<text x="${left - 8}" y="${at}" text-anchor="end" dominant-baseline="middle">${100 * share} %</text>
`;
}

function band(points: Curve["points"], x: (k: number) => number): string {
  const upper = points.map(({ k, high }) => `${fixed(x(k))},${fixed(y(high))}`);
  const lower = points.map(({ k, low }) => `${fixed(x(k))},${fixed(y(low))}`).reverse();
  return [...upper, ...lower].join(" ");
}

function y(share: number): number {
  return top + (1 - share) * (height - top - bottom);
}

function fixed(value: number): string {
  return value.toFixed(1);
}

function summarize({ policy, points }: Curve): string {
  const rates = points.map(({ k, rate }) => `${percent(rate)} at ${k}`);
  return `${policyTitle(policy)} ${rates.join(", ")}`;
}
