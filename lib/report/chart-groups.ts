import { catalogue } from "../metrics/catalogue.ts";
import type { ChartHead, ChartLine, ChartGroup as Group, HealthyRange, Metric } from "../metrics/metric.ts";

/** What a chart of the report shows. docs/metrics.md explains each metric. */
export interface ChartDefinition extends ChartHead {
  id: string;
  /**
   * Metrics drawn, and what tells their lines apart; the first gives solid lines, others dashed ones. Where a name holds
   * `{k}` there is a chart for each k above 1 that was logged.
   */
  metrics: Readonly<Record<string, string>>;
  /** What is healthy, of the metrics that have a range. */
  ranges: Readonly<Record<string, HealthyRange>>;
}

/** Charts of the stages whose id matches, in the order in which they are shown; `more` stand behind a fold. */
export interface ChartGroup {
  title: string;
  stages: RegExp;
  charts: readonly ChartDefinition[];
  more: readonly ChartDefinition[];
}

/** The charts that are not behind the fold, by their place. */
const shown: Readonly<Record<Group, readonly string[]>> = {
  ppo: ["reward", "success", "pass-at-1", "pass-at-{k}", "entropy", "approx-kl", "policy-loss", "value-loss"],
  supervised: ["loss", "observation", "prediction"],
};

/** The order behind the fold; what it does not name comes last. */
const folded = [
  "explained-variance",
  "clip-fraction",
  "grad-norm",
  "learning-rate",
  "group-std",
  "groups-equal",
  "repetition",
  "first-actions",
  "reply-information",
  "format",
  "observation",
  "prediction",
  "state-reward",
  "cut",
  "response-length",
  "logprob-difference",
  "speed",
];

interface DrawnMetric {
  name: string;
  line: ChartLine;
  range: HealthyRange | undefined;
}

/** The lines of a group by their chart. */
function linesByChart(group: Group): Map<string, DrawnMetric[]> {
  const metrics: readonly Metric[] = Object.values(catalogue).flat();
  const lines = metrics.flatMap(({ name, charts, range }) => {
    const line = charts?.[group];
    return line ? [{ name: line.validation ? `validation_${name}` : name, line, range }] : [];
  });
  const byChart = new Map<string, DrawnMetric[]>();
  for (const drawn of lines) {
    const { chart } = drawn.line;
    byChart.set(chart, [...(byChart.get(chart) ?? []), drawn]);
  }
  return byChart;
}

/** A chart of its lines, the one that heads it first. */
function chartOf(id: string, lines: readonly DrawnMetric[]): ChartDefinition {
  const [head] = lines.flatMap(({ name, line }) => ("title" in line ? [{ name, ...line }] : []));
  const others = lines.flatMap(({ name, line }) => ("line" in line ? [[name, line.line] as const] : []));
  const { title, about, share, name } = head;
  const ranges = lines.flatMap((drawn) => (drawn.range ? [[drawn.name, drawn.range] as const] : []));
  return {
    id,
    title,
    about,
    share,
    metrics: { [name]: "", ...Object.fromEntries(others) },
    ranges: Object.fromEntries(ranges),
  };
}

function charts(group: Group): Pick<ChartGroup, "charts" | "more"> {
  const lines = linesByChart(group);
  const place = (id: string) => (folded.includes(id) ? folded.indexOf(id) : folded.length);
  const rest = [...lines.keys()].filter((id) => !shown[group].includes(id));
  const draw = (ids: readonly string[]) => ids.map((id) => chartOf(id, lines.get(id) ?? []));
  return { charts: draw(shown[group]), more: draw(rest.sort((left, right) => place(left) - place(right))) };
}

/** Every chart that a report may hold; those without data are left out. */
export const chartGroups: readonly ChartGroup[] = [
  { title: "PPO", stages: /\/ppo$/, ...charts("ppo") },
  { title: "World-model fine-tuning", stages: /\/sft(-\d+)?$/, ...charts("supervised") },
  { title: "Base", stages: /^base$/, ...charts("supervised") },
];
