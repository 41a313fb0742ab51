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

/** A metric of metrics.jsonl: what docs/metrics.md says of it, and where the report draws it. */
export interface Metric {
  /** Its name in metrics.jsonl; `{k}` in it stands for a number. */
  name: string;
  /** What it is; a formula in Markdown, with the notation of docs/metrics.md. */
  meaning: string;
  /** What is normal, and what a departure says. */
  healthy?: string;
  charts?: Readonly<Partial<Record<ChartGroup, ChartLine>>>;
}
