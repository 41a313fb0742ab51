import { Html, html } from "../report/html.ts";
import type { Estimate } from "./statistics.ts";

/** A line of a figure, with the band of its intervals. */
interface FigureLine {
  name: string;
  /** Number of its colour, from 0 on; those that there are not are dashed lines in the first ones. */
  color: number;
  points: readonly ({ x: number } & Estimate)[];
}

/** A line chart that stands by itself: in a page, or as an SVG file. */
export interface Figure {
  title: string;
  /** Under the axis. */
  xTitle: string;
  /** Shares are drawn from 0 to 1, in per cent. */
  share: boolean;
  /** Powers of two stand at equal distances. */
  logarithmic?: boolean;
  lines: readonly FigureLine[];
}

/** Size of the drawing and room for its labels, in its own units. */
const [width, height, left, bottom, top, right] = [720, 360, 56, 44, 36, 16];
/** A row of the legend, which stands under the axis. */
const legendRow = 20;
const legendColumns = 3;

/** Colours of lines on a light and on a dark ground. */
const colors = [
  ["#0a66c2", "#58a6ff"],
  ["#b35900", "#f0a04b"],
  ["#7a3fc2", "#bc8cff"],
  ["#0d8a7a", "#3fc7b5"],
  ["#c2357f", "#f778ba"],
  ["#57606a", "#9198a1"],
] as const;

const style = `.spa-figure{font:12px system-ui,sans-serif;fill:#1f2328}.spa-figure .rule{stroke:#d8dee4}
.spa-figure .line{fill:none;stroke-width:2}.spa-figure .band{opacity:.16}.spa-figure .title{font-weight:600}
${colors.map(([light], index) => `.spa-figure .c${index}{stroke:${light}}.spa-figure .f${index}{fill:${light}}`).join("")}
@media (prefers-color-scheme:dark){.spa-figure{fill:#e6edf3}.spa-figure .rule{stroke:#30363d}
${colors.map(([, dark], index) => `.spa-figure .c${index}{stroke:${dark}}.spa-figure .f${index}{fill:${dark}}`).join("")}}`;

/** The figure as SVG, whose lines are named in words for those who cannot see it. */
export function renderFigure({ title, xTitle, share, logarithmic = false, lines }: Figure): Html {
  const points = lines.flatMap((line) => line.points);
  const scale = (value: number) => (logarithmic ? Math.log2(value) : value);
  const xs = points.map(({ x }) => scale(x));
  const [firstX, lastX] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = share ? [0, 1] : rangeOf(points.flatMap(({ interval }) => interval));
  const x = (value: number) =>
    left + ((scale(value) - firstX) / Math.max(lastX - firstX, 1e-12)) * (width - left - right);
  const y = (value: number) =>
    height - bottom - ((clamp(value, low, high) - low) / (high - low)) * (height - top - bottom);
  const full = height + legendRow * Math.ceil(lines.length / legendColumns);
  const ticks = [...new Set(points.map((point) => point.x))].sort((one, other) => one - other);
  const shown = logarithmic ? ticks : thinned(ticks);
  return html`<svg xmlns="http://www.w3.org/2000/svg" class="spa-figure" viewBox="0 0 ${width} ${full}" role="img" aria-label="${title}. ${lines.map(summary).join("; ")}">
<style>${new Html(style)}</style>
<text class="title" x="${left}" y="18">${title}</text>
${[0, 0.25, 0.5, 0.75, 1].map((part) => rule(low + part * (high - low), y, share))}
${shown.map((tick) => html`<text x="${fixed(x(tick))}" y="${height - bottom + 16}" text-anchor="middle">${tick}</text>`)}
<text x="${(left + width - right) / 2}" y="${height - 8}" text-anchor="middle">${xTitle}</text>
${lines.map((line) => html`<polygon class="band f${line.color % colors.length}" points="${band(line, x, y)}"/>`)}
${lines.map((line) => html`<polyline class="line c${line.color % colors.length}"${dash(line)} points="${line.points.map((point) => `${fixed(x(point.x))},${fixed(y(point.mean))}`).join(" ")}"/>`)}
${lines.map(legend)}
</svg>`;
}

function rule(value: number, y: (value: number) => number, share: boolean): Html {
  const at = fixed(y(value));
  const text = share ? `${Math.round(100 * value)} %` : String(Number(value.toPrecision(3)));
  return html`<line class="rule" x1="${left}" x2="${width - right}" y1="${at}" y2="${at}"/><text x="${left - 8}" y="${at}" text-anchor="end" dominant-baseline="middle">${text}</text>
`;
}

function legend(line: FigureLine, index: number): Html {
  const x = left + (index % legendColumns) * ((width - left) / legendColumns);
  const y = height + 8 + legendRow * Math.floor(index / legendColumns);
  return html`<line class="line c${line.color % colors.length}"${dash(line)} x1="${fixed(x)}" x2="${fixed(x + 22)}" y1="${y}" y2="${y}"/><text x="${fixed(x + 28)}" y="${y}" dominant-baseline="middle">${line.name}</text>
`;
}

function dash({ color }: FigureLine): Html | false {
  return color >= colors.length && new Html(' stroke-dasharray="6 4"');
}

function band({ points }: FigureLine, x: (value: number) => number, y: (value: number) => number): string {
  const edge = (end: 0 | 1) => points.map((point) => `${fixed(x(point.x))},${fixed(y(point.interval[end]))}`);
  return [...edge(1), ...edge(0).reverse()].join(" ");
}

function summary({ name, points }: FigureLine): string {
  const [first, last] = [points[0], points[points.length - 1]];
  return `${name} ${Number(first.mean.toPrecision(3))} at ${first.x}, ${Number(last.mean.toPrecision(3))} at ${last.x}`;
}

/** About eight of many ticks, at equal distances. */
function thinned(ticks: readonly number[]): number[] {
  const stride = Math.ceil(ticks.length / 8);
  return ticks.filter((_, index) => index % stride === 0);
}

/** What values span, and a little when they are all alike. */
function rangeOf(values: readonly number[]): [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

function fixed(value: number): string {
  return value.toFixed(1);
}
