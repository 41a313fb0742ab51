import type { MetricsRow } from "../run/metrics.ts";
import { type ChartDefinition, chartGroups } from "./chart-groups.ts";
import { figure, percent } from "./format.ts";

import { armTitle, stageColors } from "./names.ts";

/** One line of a chart. */
interface ChartSeries {
  name: string;
  /** See {@link stageColors}. */
  color: number;
  dashed: boolean;
  /** One entry for each x of the chart; null where the step has no figure. */
  values: (number | null)[];
}

/** A chart with its data, as the page's script draws it. */
export interface Chart {
  id: string;
  title: string;
  about: string;
  share: boolean;
  /** Steps, ascending. */
  x: number[];
  series: ChartSeries[];
  /** First and last figure of each line in words. */
  summary: string;
}

export interface ChartSection {
  title: string;
  charts: Chart[];
  more: Chart[];
}

/** Rows of a stage that are drawn at most: more than a chart has pixels. */
const drawnRows = 4096;

/** The charts of a run's metrics. Sections and charts without data are left out. */
export function chartSections(metrics: Iterable<MetricsRow>): ChartSection[] {
  const rows = thinned(metrics);
  const stages = [...new Set(rows.map(({ stage }) => stage))];
  return chartGroups.flatMap(({ title, stages: pattern, charts, more }) => {
    const own = stages.filter((stage) => pattern.test(stage));
    const draw = (definitions: readonly ChartDefinition[]) =>
      definitions
        .flatMap((definition) => forEachK(definition, rows))
        .flatMap((definition) => makeChart(definition, rows, own, title) ?? []);
    const section = { title, charts: draw(charts), more: draw(more) };
    return section.charts.length + section.more.length > 0 ? [section] : [];
  });
}

/** Of a stage with many rows every second, fourth, … and the last. */
function thinned(metrics: Iterable<MetricsRow>): MetricsRow[] {
  const stages = new Map<string, { read: number; stride: number; rows: MetricsRow[]; last: MetricsRow }>();
  for (const row of metrics) {
    const stage = stages.get(row.stage) ?? { read: 0, stride: 1, rows: [], last: row };
    stages.set(row.stage, stage);
    stage.last = row;
    if (stage.read++ % stage.stride === 0) stage.rows.push(row);
    if (stage.rows.length <= drawnRows) continue;
    stage.rows = stage.rows.filter((_, index) => index % 2 === 0);
    stage.stride *= 2;
  }
  return [...stages.values()].flatMap(({ rows, last }) => (rows.at(-1) === last ? rows : [...rows, last]));
}

/** The charts of a definition: itself, or with `{k}` in it one for each k. */
function forEachK(definition: ChartDefinition, rows: readonly MetricsRow[]): ChartDefinition[] {
  const [metric] = Object.keys(definition.metrics);
  const [before, after] = metric.split("{k}");
  if (after === undefined) return [definition];
  const logged = new Set(rows.flatMap((row) => Object.keys(row)));
  const ks = [...logged]
    .filter((name) => name.startsWith(before) && name.endsWith(after))
    .map((name) => Number(name.slice(before.length, name.length - after.length)))
    .filter((k) => k > 1)
    .sort((left, right) => left - right);
  return ks.map((k) => {
    const { id, title, about } = definition;
    const named = Object.entries({ id, title, about }).map(([key, text]) => [
      key,
      text.replaceAll("{k}", String(k)),
    ]);
    return { ...definition, ...Object.fromEntries(named), metrics: { [`${before}${k}${after}`]: "" } };
  });
}

interface Line {
  stage: string;
  metric: string;
  points: Map<number, number>;
}

function makeChart(
  definition: ChartDefinition,
  rows: readonly MetricsRow[],
  stages: readonly string[],
  group: string,
): Chart | undefined {
  const lines = Object.keys(definition.metrics).flatMap((metric) =>
    stages.map((stage): Line => ({ stage, metric, points: pointsOf(rows, stage, metric) })),
  );
  const drawn = lines.filter(({ points }) => points.size > 0);
  if (drawn.length === 0) return undefined;
  const x = [...new Set(drawn.flatMap(({ points }) => [...points.keys()]))].sort(
    (left, right) => left - right,
  );
  const share = definition.share === true;
  const colors = stageColors(stages);
  const names = drawn.map((line) => lineName(line, definition, stages));
  return {
    id: `${group.toLowerCase().replaceAll(/[^a-z]+/g, "-")}-${definition.id}`,
    title: definition.title,
    about: definition.about,
    share,
    x,
    series: drawn.map(({ stage, metric, points }, index) => ({
      name: names[index],
      color: colors.get(stage)!,
      dashed: metric !== Object.keys(definition.metrics)[0],
      values: x.map((step) => points.get(step) ?? null),
    })),
    summary: drawn.map(({ points }, index) => summarize(names[index], points, share)).join("; "),
  };
}

/** Infinities are written as the largest number: no chart could show the rest beside them. */
function pointsOf(rows: readonly MetricsRow[], stage: string, metric: string): Map<number, number> {
  const points = new Map<number, number>();
  for (const row of rows) {
    const value = row[metric];
    if (row.stage === stage && typeof value === "number" && Math.abs(value) < 1e300)
      points.set(row.step, value);
  }
  return points;
}

/** The arm; the round where SFT has several; the metric where the chart has several. */
function lineName({ stage, metric }: Line, { metrics }: ChartDefinition, stages: readonly string[]): string {
  const rounds = stages.some((other) => other !== stage && armTitle(other) === armTitle(stage));
  const arm = rounds ? `${armTitle(stage)} (${stage.split("/")[1]})` : armTitle(stage);
  return metrics[metric] === "" ? arm : `${arm}, ${metrics[metric]}`;
}

function summarize(name: string, points: ReadonlyMap<number, number>, share: boolean): string {
  const steps = [...points.keys()].sort((left, right) => left - right);
  const text = (step: number) => (share ? percent(points.get(step)) : figure(points.get(step)!));
  const last = steps[steps.length - 1];
  return steps.length === 1 ? `${name} ${text(last)}` : `${name} ${text(steps[0])} → ${text(last)}`;
}
