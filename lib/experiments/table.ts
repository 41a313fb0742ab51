import type { Interval } from "../run/evaluation.ts";
import type { ExperimentResults, ResultRow } from "./results.ts";

/** A table of texts. */
export interface Table {
  header: string[];
  rows: string[][];
}

/** `.653`; a dash where a figure does not apply. */
function share(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  return value.toFixed(3).replace(/^(-?)0\./, "$1.");
}

function range([low, high]: Interval): string {
  return `[${share(low)}, ${share(high)}]`;
}

/** The ks that an experiment's tables show. */
export function shownKs({ rows, passAt: asked }: ExperimentResults): number[] {
  const known = [...new Set(rows.flatMap(({ passAt }) => Object.keys(passAt).map(Number)))];
  const most = Math.max(1, ...known.filter((k) => k <= 8));
  return [...new Set(asked ?? [1, most])].filter((k) => known.includes(k));
}

/** A row a policy: Pass@k with 95 % intervals over seeds and levels, shares of turns, and what it has cost. */
export function resultTable(results: ExperimentResults, ks: readonly number[]): Table {
  const header = [
    "policy",
    ...ks.map((k) => `Pass@${k} [95 %]`),
    "format",
    "observation",
    "prediction",
    "changed",
    "tokens sampled + trained",
    "seeds",
  ];
  const rows = results.rows.map((row) => [
    row.name,
    ...ks.map((k) => {
      const rate = row.passAt[k];
      return rate ? `${share(rate.mean)} ${range(rate.interval)}` : "–";
    }),
    share(row.formatRate?.mean),
    share(row.observation?.mean),
    share(row.prediction?.mean),
    share(row.predictionChanged?.mean),
    costOf(row),
    String(row.seeds.length),
  ]);
  return { header, rows };
}

function costOf({ cost }: ResultRow): string {
  if (cost === null) return "–";
  const millions = (tokens: number) => (tokens / 1e6).toFixed(2);
  return `${millions(cost.tokensSampled)}M + ${millions(cost.tokensTrained)}M`;
}

/** A row a comparison: what the first has above the second, of the same seeds on the same levels. */
export function differenceTable(results: ExperimentResults, ks: readonly number[]): Table {
  const rows = results.differences.map(({ row, against, passAt }) => [
    row,
    against,
    ...ks.map((k) => (passAt[k] ? `${signed(passAt[k].mean)} ${range(passAt[k].interval)}` : "–")),
  ]);
  return { header: ["policy", "above", ...ks.map((k) => `Pass@${k} [95 %]`)], rows };
}

function signed(value: number): string {
  return value < 0 ? share(value) : `+${share(value)}`;
}

/** Pass@1 by the length of a shortest solution. */
export function distanceTable({ rows }: ExperimentResults): Table {
  const distances = [...new Set(rows.flatMap(({ byDistance }) => Object.keys(byDistance)))];
  const count = (distance: string) =>
    rows.find(({ byDistance }) => distance in byDistance)?.byDistance[distance];
  return {
    header: ["Pass@1 at distance", ...distances],
    rows:
      rows.length === 0
        ? []
        : [
            ["levels", ...distances.map((distance) => String(count(distance)?.levels ?? "–"))],
            ...rows.map(({ name, byDistance }) => [
              name,
              ...distances.map((distance) => share(byDistance[distance]?.passAt1)),
            ]),
          ],
  };
}

/** How well models foretell true states: nats per state, and perplexity per token in brackets. */
export function perplexityTable({ rows }: ExperimentResults): Table {
  const measured = rows.filter(({ nats }) => nats.observation !== null);
  const states = ["observation", "prediction", "predictionChanged"] as const;
  const cell = (row: ResultRow, state: (typeof states)[number]) => {
    const [nats, perplexity] = [row.nats[state], row.perplexity[state]];
    return nats && perplexity ? `${nats.mean.toPrecision(3)} (${perplexity.mean.toPrecision(3)})` : "–";
  };
  return {
    header: ["nats a state (perplexity)", "observation", "prediction", "prediction, changed"],
    rows: measured.map((row) => [row.name, ...states.map((state) => cell(row, state))]),
  };
}

/** What the arms were tuned by: Pass@1 of every trial on the tuning levels, that of the chosen one marked. */
export function tuningTable({ tuning }: ExperimentResults): Table {
  const { candidates = [], arms = {} } = tuning ?? {};
  const cell = (rate: number | null, isChosen: boolean) => share(rate) + (isChosen ? " *" : "");
  return {
    header: ["trials (* chosen)", ...candidates.map((candidate) => candidate.join(" "))],
    rows: Object.entries(arms).map(([name, { passAt1, chosen }]) => [
      name,
      ...passAt1.map((rate, index) => cell(rate, index === chosen)),
    ]),
  };
}

/** The arms' differing settings. */
export function settingsTable(arms: ExperimentResults["arms"]): Table {
  return {
    header: ["arm", "what it is", "settings of its own"],
    rows: Object.entries(arms).map(([name, { about, settings }]) => [
      name,
      about,
      Object.entries(settings)
        .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
        .join(" "),
    ]),
  };
}

/** A table as Markdown. */
export function toMarkdown({ header, rows }: Table): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(header), `|${" --- |".repeat(header.length)}`, ...rows.map(line)].join("\n");
}
