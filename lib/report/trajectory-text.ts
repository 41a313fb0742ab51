import { type RoleName, roleColors, roleNames } from "../text/roles.ts";
import { visibleLine, visibleText } from "../visible-text.ts";
import type { Fragment } from "./state-difference.ts";
import {
  describeActions,
  formatNumber,
  type StateComparison,
  type TrajectoryView,
  type TurnStates,
  type ViewPiece,
  type ViewTurn,
} from "./trajectory-view.ts";

export interface TextOptions {
  /** Paint with ANSI escape sequences (256 colours). */
  color: boolean;
}

const reset = "\x1b[0m";
const bold = "\x1b[1m";
const faint = "\x1b[2m";
/** Black on red. */
const wrong = "\x1b[30;48;5;210m";

/** The widest line of a state that is set beside others; longer ones go below. */
const columnWidth = 24;

/** A trajectory for the terminal, turn by turn. */
export function formatTrajectory(view: TrajectoryView, title: string, { color }: TextOptions): string {
  const paint = painter(color);
  const head = [paint(visibleLine(title), bold), visibleLine(view.facts.join(", "))];
  if (color) head.push(legend(view));
  const turns = view.turns.flatMap((turn) => formatTurn(turn, paint));
  const rest = view.rest.length === 0 ? [] : [formatPieces(view.rest, paint)];
  return [...head, "", ...turns, ...rest].join("\n").trimEnd();
}

type Paint = (text: string, ...codes: string[]) => string;

/**
 * Makes text visible, and puts the codes around it: around every line by itself, for pagers forget colours at line ends.
 * What is printed without it holds no text of others.
 */
function painter(color: boolean): Paint {
  return (text, ...codes) => {
    const visible = visibleText(text);
    if (!color || codes.length === 0) return visible;
    const paintLine = (line: string) => (line === "" ? "" : `${codes.join("")}${line}${reset}`);
    return visible.split("\n").map(paintLine).join("\n");
  };
}

function roleCode(role: RoleName): string {
  return `\x1b[38;5;${roleColors[role].terminal}m`;
}

/** The roles that occur, each in its colour. */
function legend({ trajectory }: TrajectoryView): string {
  const found = new Set(trajectory.pieces.map(([role]) => role));
  const names = roleNames
    .filter((_, role) => found.has(role))
    .map((name) => `${roleCode(name)}${name}${reset}`);
  return `${names.join(" ")}  (faint: not sampled)`;
}

function formatTurn({ number, message, reply, ...states }: ViewTurn, paint: Paint): string[] {
  return [
    paint(`── turn ${number} ──`, bold),
    formatPieces([...message, ...reply], paint),
    ...formatStates(states, paint),
    "",
  ];
}

/** What a turn came to, and its states beside those that the agent wrote. */
export function formatTurnStates(states: TurnStates, { color }: TextOptions): string {
  return formatStates(states, painter(color)).join("\n");
}

function formatStates({ turn, before, after }: TurnStates, paint: Paint): string[] {
  const verdicts = [verdict("observation", before), verdict("prediction", after)].filter(
    (text) => text !== "",
  );
  const outcome = [
    visibleLine(describeActions(turn)),
    `reward ${formatNumber(turn.reward)}`,
    ...verdicts,
  ].join("; ");
  return [paint(`→ ${outcome}`, bold), ...formatColumns(before, after, paint)];
}

function verdict(name: string, { difference }: StateComparison): string {
  return difference === undefined ? "" : `${name} ${difference.equal ? "right" : "wrong"}`;
}

function formatPieces(pieces: readonly ViewPiece[], paint: Paint): string {
  const painted = pieces.map(({ text, role, sampled }) =>
    paint(text, roleCode(role), ...(sampled ? [] : [faint])),
  );
  return painted.join("").trimEnd();
}

interface Column {
  title: string;
  lines: Fragment[][];
}

/** Grids side by side, longer lines (coordinates) under them with the name of their column. */
function formatColumns(before: StateComparison, after: StateComparison, paint: Paint): string[] {
  const written: Column[] = [
    { title: "before", lines: plainLines(before.truth) },
    ...(before.difference ? [{ title: "observed", lines: before.difference.written }] : []),
    ...(after.difference ? [{ title: "predicted", lines: after.difference.written }] : []),
    { title: "after", lines: plainLines(after.truth) },
  ];
  const columns = written.map(({ title, lines }) => ({ title, lines: lines.map(visibleFragments) }));
  const isShort = (line: readonly Fragment[]) => lengthOf(line) <= columnWidth;
  const rows = Math.max(...columns.map(({ lines }) => lines.filter(isShort).length));
  const widths = columns.map(
    ({ title, lines }) => Math.max(title.length, ...lines.filter(isShort).map(lengthOf)) + 2,
  );
  const grid = Array.from({ length: rows }, (_, row) =>
    columns.map(({ lines }, column) => formatLine(lines.filter(isShort)[row] ?? [], widths[column], paint)),
  );
  const long = columns.flatMap(({ title, lines }) =>
    lines
      .filter((line) => !isShort(line))
      .map((line) => `  ${title.padEnd(10)} ${formatLine(line, 0, paint).trimEnd()}`),
  );
  const titles = columns.map(({ title }, column) => title.padEnd(widths[column]));
  return [titles, ...grid].map((cells) => `  ${cells.join(" ")}`.trimEnd()).concat(long);
}

/** What is visible first: columns are as wide as what is shown in them. */
function visibleFragments(line: readonly Fragment[]): Fragment[] {
  return line.map((part) => ({ ...part, text: visibleText(part.text) }));
}

function plainLines(text: string): Fragment[][] {
  return text.split("\n").map((line) => [{ text: line, same: true }]);
}

/** Length with the mark of {@link formatLine}. */
function lengthOf(line: readonly Fragment[]): number {
  return line.reduce((sum, { text }) => sum + Array.from(text).length, 0);
}

/** A line padded to a width; ≠ marks one that is wrong, for terminals without colour too. */
function formatLine(line: readonly Fragment[], width: number, paint: Paint): string {
  const differs = line.some(({ same }) => !same);
  const text = line.map((part) => (part.same ? part.text : paint(part.text, wrong))).join("");
  const mark = differs ? " ≠" : "";
  return text + mark + " ".repeat(Math.max(0, width - lengthOf(line) - mark.length));
}
