/** Which of the report's groups of charts: of PPO stages, or of those of supervised updates (base and SFT). */
export type ChartGroup = "ppo" | "supervised";

/** What the first, solid line of a chart says of the chart. */
export interface ChartHead {
  title: string;
  /** What it is and what to look for, in a sentence. */
  about: string;
  /** Shares are drawn from 0 to 1 and printed as percentages. */
  share?: true;
}

/** A line in a chart of the report: its first, or a dashed one with a name of its own. */
export type ChartLine = (ChartHead | { line: string }) & {
  /** Id of the chart within its group; `{k}` in it: a chart for each k above 1 that was logged. */
  chart: string;
  /** What is drawn is the metric with the prefix `validation_`. */
  validation?: true;
};

/** What is healthy, as numbers; a bound that is left out is none. */
export interface HealthyRange {
  low?: number;
  high?: number;
  /** It holds for models that SFT has taught to write states. */
  afterSft?: true;
}

/** Whether a figure is within its range. */
export function isHealthy(value: number, { low, high }: HealthyRange): boolean {
  return value >= (low ?? value) && value <= (high ?? value);
}

/** `below 0.2`, `above 0.95`, `0.05 to 2`. */
export function describeRange({ low, high }: HealthyRange): string {
  if (low !== undefined && high !== undefined) return `${low} to ${high}`;
  return low === undefined ? `below ${high}` : `above ${low}`;
}

/** A metric of metrics.jsonl: what docs/metrics.md says of it, and where the report draws it. */
export interface Metric {
  /** Its name in metrics.jsonl; `{k}` in it stands for a number. */
  name: string;
  /** What it is; a formula in Markdown, with the notation of docs/metrics.md. */
  meaning: string;
  /** What is normal, and what a departure says. */
  healthy?: string;
  /** The same where it can be told by numbers, which stand in {@link Metric.healthy}. */
  range?: HealthyRange;
  charts?: Readonly<Partial<Record<ChartGroup, ChartLine>>>;
}
