import { type ArmName, hasSft } from "../config/arms.ts";
import { describeRange, type HealthyRange, isHealthy } from "../metrics/metric.ts";
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
  /** Key of its {@link ChartColumns}. */
  stage: string;
  /** One entry for each step of the stage; null where the step has no figure. */
  values: (number | null)[];
}

/** A chart with its data, as the page's script draws it. */
export interface Chart {
  id: string;
  title: string;
  about: string;
  share: boolean;
  /** Of the first line. */
  range?: HealthyRange;
  series: ChartSeries[];
  /** First and last figure of each line in words. */
  summary: string;
  /** Lines that end outside of their healthy range, in words. */
  outside: string[];
}

export interface ChartSection {
  title: string;
  charts: Chart[];
  more: Chart[];
}

/** What a stage's lines may be drawn over; each column has an entry for each logged step. */
interface ChartColumns {
  /** Ascending. */
  step: number[];
  /** Tokens that the stage has seen; null where an earlier version logged. */
  tokens: (number | null)[];
  /** Seconds that the stage has worked; likewise. */
  time: (number | null)[];
}

export interface ChartSheet {
  sections: ChartSection[];
  /** By stage, of several runs by run and stage. */
  columns: { [stage: string]: ChartColumns };
}

/** A run whose metrics are drawn. */
export interface ChartedRun {
  name: string;
  metrics: Iterable<MetricsRow>;
}

/** Rows of a stage that are drawn at most: more than a chart has pixels. */
const drawnRows = 4096;

/** A stage of a run, with one row a step. */
interface Track {
  run: string;
  stage: string;
  key: string;
  rows: MetricsRow[];
}

/**
 * The charts of runs' metrics; lines of several runs are told apart by the runs' names. Sections and charts without data are
 * left out.
 */
export function chartSheet(runs: readonly ChartedRun[]): ChartSheet {
  const tracks = runs.flatMap(({ name, metrics }) => tracksOf(name, metrics, runs.length > 1));
  const sections = chartGroups.flatMap(({ title, stages, charts, more }) => {
    const own = tracks.filter(({ stage }) => stages.test(stage));
    const draw = (definitions: readonly ChartDefinition[]) =>
      definitions
        .flatMap((definition) => forEachK(definition, own))
        .flatMap((definition) => makeChart(definition, own, title, runs.length > 1) ?? []);
    const section = { title, charts: draw(charts), more: draw(more) };
    return section.charts.length + section.more.length > 0 ? [section] : [];
  });
  const used = new Set(
    sections
      .flatMap(({ charts, more }) => [...charts, ...more].flatMap(({ series }) => series))
      .map(({ stage }) => stage),
  );
  const columns = tracks.filter(({ key }) => used.has(key)).map(({ key, rows }) => [key, columnsOf(rows)]);
  return { sections, columns: Object.fromEntries(columns) as ChartSheet["columns"] };
}

function columnsOf(rows: readonly MetricsRow[]): ChartColumns {
  const column = (name: string) => rows.map((row) => finite(row[name]));
  return { step: rows.map(({ step }) => step), tokens: column("tokens_seen"), time: column("time") };
}

function tracksOf(run: string, metrics: Iterable<MetricsRow>, severalRuns: boolean): Track[] {
  const stages = new Map<string, ThinnedRows>();
  for (const row of metrics) {
    const known = stages.get(row.stage) ?? new ThinnedRows();
    stages.set(row.stage, known);
    known.add(row);
  }
  return [...stages].map(([stage, { rows }]) => ({
    run,
    stage,
    key: severalRuns ? `${run}: ${stage}` : stage,
    rows,
  }));
}

/** Of a stage with many steps every second, fourth, … and the last. The rows of a step, which follow each other, become one. */
class ThinnedRows {
  rows: MetricsRow[] = [];
  #steps = 0;
  #stride = 1;

  add(row: MetricsRow): void {
    const newest = this.rows.at(-1);
    if (newest?.step === row.step) {
      this.rows[this.rows.length - 1] = { ...newest, ...row };
      return;
    }
    if (newest && (this.#steps - 1) % this.#stride !== 0) this.rows.pop();
    this.rows.push(row);
    this.#steps++;
    if (this.rows.length <= drawnRows) return;
    this.rows = this.rows.filter((_, index) => index % 2 === 0);
    this.#stride *= 2;
  }
}

/** The charts of a definition: itself, or with `{k}` in it one for each k. */
function forEachK(definition: ChartDefinition, tracks: readonly Track[]): ChartDefinition[] {
  const [metric] = Object.keys(definition.metrics);
  const [before, after] = metric.split("{k}");
  if (after === undefined) return [definition];
  const logged = new Set(tracks.flatMap(({ rows }) => rows.flatMap(Object.keys)));
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

/** A metric of a track. */
interface Line {
  track: Track;
  metric: string;
  values: (number | null)[];
}

function makeChart(
  definition: ChartDefinition,
  tracks: readonly Track[],
  group: string,
  severalRuns: boolean,
): Chart | undefined {
  const { id, title, about, metrics, ranges } = definition;
  const [first] = Object.keys(metrics);
  const lines = Object.keys(metrics)
    .flatMap((metric) =>
      tracks.map((track): Line => ({ track, metric, values: track.rows.map((row) => finite(row[metric])) })),
    )
    .filter(({ values }) => values.some((value) => value !== null));
  if (lines.length === 0) return undefined;
  const share = definition.share === true;
  const text = (value: number) => (share ? percent(value) : figure(value));
  const colors = severalRuns ? undefined : stageColors(tracks.map(({ stage }) => stage));
  const names = lines.map((line) => lineName(line, definition, tracks, severalRuns));
  return {
    id: `${group.toLowerCase().replaceAll(/[^a-z]+/g, "-")}-${id}`,
    title,
    about,
    share,
    ...(ranges[first] && { range: ranges[first] }),
    series: lines.map(({ track, metric, values }, index) => ({
      name: names[index],
      color: colors?.get(track.stage) ?? tracks.indexOf(track),
      dashed: metric !== first,
      stage: track.key,
      values,
    })),
    summary: lines.map(({ values }, index) => summarize(names[index], values, text)).join("; "),
    outside: lines.flatMap((line, index) => outsideRange(line, names[index], ranges, text) ?? []),
  };
}

/** Infinities are written as the largest number: no chart could show the rest beside them. */
function finite(value: MetricsRow[string] | undefined): number | null {
  return typeof value === "number" && Math.abs(value) < 1e300 ? value : null;
}

/** The run where there are several; the arm; the round where SFT has several; the metric where the chart has several. */
function lineName(
  { track: { run, stage }, metric }: Line,
  { metrics }: ChartDefinition,
  tracks: readonly Track[],
  severalRuns: boolean,
): string {
  const hasRounds = tracks.some(
    (other) => other.run === run && other.stage !== stage && armTitle(other.stage) === armTitle(stage),
  );
  const round = /-(\d+)$/.exec(stage)?.[1] ?? "1";
  const arm = hasRounds ? `${armTitle(stage)}, round ${round}` : armTitle(stage);
  const named = severalRuns ? `${run}: ${arm}` : arm;
  return metrics[metric] === "" ? named : `${named}, ${metrics[metric]}`;
}

/** Share of a line's figures, its last ones, whose mean is compared with what is healthy. */
const judgedShare = 0.1;

/** What is to be said of a line that ends outside of its healthy range. */
function outsideRange(
  { track: { stage }, metric, values }: Line,
  name: string,
  ranges: ChartDefinition["ranges"],
  text: (value: number) => string,
): string | undefined {
  const range = ranges[metric];
  if (!range || (range.afterSft && !hasSft([stage.split("/")[0] as ArmName]))) return undefined;
  const known = values.filter((value) => value !== null);
  const judged = known.slice(-Math.max(1, Math.floor(judgedShare * known.length)));
  const mean = judged.reduce((sum, value) => sum + value, 0) / judged.length;
  return isHealthy(mean, range) ? undefined : `${name} ${text(mean)}, healthy: ${describeRange(range)}`;
}

function summarize(
  name: string,
  values: readonly (number | null)[],
  text: (value: number) => string,
): string {
  const known = values.filter((value) => value !== null);
  const last = text(known[known.length - 1]);
  return known.length === 1 ? `${name} ${last}` : `${name} ${text(known[0])} → ${last}`;
}
