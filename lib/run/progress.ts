// What a run says while it works: one line that is rewritten on a terminal, plain lines now and then elsewhere, one
// JSON object a line for programs, or nothing.

import type { Json } from "../../envs/environment.ts";
import { visibleJson, visibleLine, visibleText } from "../visible-text.ts";

/** Key figures of a step, as they are shown: numbers are shortened. */
type ProgressFields = Record<string, number | string | undefined>;

/** How a stage tells what it is doing. */
export interface Progress {
  /** A stage begins, or goes on after `done` of its `total` units of work (steps, updates, episodes). */
  stage(id: string, total: number, done?: number): void;
  /** `done` units of the stage are done. */
  tick(done: number, fields?: ProgressFields): void;
  /** A sentence for the user. */
  note(text: string): void;
  /** The stage has ended. */
  done(): void;
}

export type ProgressMode = "line" | "plain" | "json" | "quiet";

export interface ProgressOptions {
  mode: ProgressMode;
  /** Where it is written; a terminal for `line`. */
  stream: { write(text: string): unknown; columns?: number };
  /** Ids of all stages in order: stages are then shown with their place, `[3/12]`. */
  plan?: readonly string[];
  /** Milliseconds; replaced in tests. */
  clock?: () => number;
}

/** Milliseconds between two updates. */
const interval = { line: 100, plain: 10_000, json: 1000 };

/** What to show where the user did not say: a line on a terminal, plain lines elsewhere. */
export function defaultProgressMode(isTerminal: boolean): ProgressMode {
  return isTerminal ? "line" : "plain";
}

/** `75` -> `1m15s`. Seconds. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  const two = (value: number) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
}

/** Three or four significant digits; thousands as k and M. */
export function formatFigure(value: number | string): string {
  if (typeof value === "string") return visibleLine(value);
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  if (Number.isInteger(value)) return String(value);
  return size !== 0 && size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

function formatFields(fields: ProgressFields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined && !Number.isNaN(value))
    .map(([name, value]) => `${visibleLine(name)} ${formatFigure(value!)}`)
    .join("  ");
}

interface CurrentStage {
  id: string;
  /** The id with its place in the plan, for people. */
  title: string;
  total: number;
  /** Units done before this process began with the stage: they say nothing of its speed. */
  doneBefore: number;
  done: number;
  fields: ProgressFields;
  begin: number;
}

/** The estimate assumes that the rest goes at the speed so far. */
function remainingSeconds(stage: CurrentStage, now: number): number | undefined {
  const worked = stage.done - stage.doneBefore;
  return worked > 0 ? ((now - stage.begin) / 1000 / worked) * (stage.total - stage.done) : undefined;
}

abstract class StagedProgress implements Progress {
  protected readonly stream: ProgressOptions["stream"];
  protected current: CurrentStage | undefined;
  readonly #plan: readonly string[];
  readonly #clock: () => number;
  readonly #interval: number;
  #lastShown = 0;

  constructor(options: ProgressOptions, minimumInterval: number) {
    this.stream = options.stream;
    this.#plan = options.plan ?? [];
    this.#clock = options.clock ?? (() => performance.now());
    this.#interval = minimumInterval;
  }

  stage(id: string, total: number, done = 0): void {
    const begin = this.#clock();
    const place = this.#plan.indexOf(id) + 1;
    const title = place > 0 ? `[${place}/${this.#plan.length}] ${visibleLine(id)}` : visibleLine(id);
    this.current = { id, title, total, doneBefore: done, done, fields: {}, begin };
    this.#lastShown = begin;
    this.begin(this.current);
  }

  tick(done: number, fields: ProgressFields = {}): void {
    const { current } = this;
    if (!current) return;
    current.done = done;
    current.fields = { ...current.fields, ...fields };
    const now = this.#clock();
    if (now - this.#lastShown < this.#interval) return;
    this.#lastShown = now;
    this.show(current, remainingSeconds(current, now));
  }

  done(): void {
    const { current } = this;
    if (!current) return;
    this.current = undefined;
    this.end(current, (this.#clock() - current.begin) / 1000);
  }

  abstract note(text: string): void;
  protected abstract begin(stage: CurrentStage): void;
  protected abstract show(stage: CurrentStage, remaining: number | undefined): void;
  protected abstract end(stage: CurrentStage, seconds: number): void;
}

function describe(stage: CurrentStage, remaining: number | undefined): string {
  const eta = remaining === undefined ? "" : `  ETA ${formatDuration(remaining)}`;
  return `${stage.title}  ${stage.done}/${stage.total}${eta}  ${formatFields(stage.fields)}`.trimEnd();
}

function describeEnd(stage: CurrentStage, seconds: number): string {
  const count = stage.done < stage.total ? `stopped at ${stage.done}/${stage.total}` : "done";
  return `${stage.title}  ${count} in ${formatDuration(seconds)}  ${formatFields(stage.fields)}`.trimEnd();
}

class PlainProgress extends StagedProgress {
  note(text: string): void {
    this.stream.write(`${visibleText(text)}\n`);
  }
  protected begin(stage: CurrentStage): void {
    const from = stage.done > 0 ? `, goes on after ${stage.done}` : "";
    this.stream.write(`${stage.title}  begins (${stage.total}${from})\n`);
  }
  protected show(stage: CurrentStage, remaining: number | undefined): void {
    this.stream.write(`${describe(stage, remaining)}\n`);
  }
  protected end(stage: CurrentStage, seconds: number): void {
    this.stream.write(`${describeEnd(stage, seconds)}\n`);
  }
}

const barWidth = 20;

class LineProgress extends StagedProgress {
  note(text: string): void {
    this.stream.write(`\r\x1b[2K${visibleText(text)}\n`);
  }
  protected begin(stage: CurrentStage): void {
    this.show(stage, undefined);
  }
  protected show(stage: CurrentStage, remaining: number | undefined): void {
    const filled = Math.round((barWidth * Math.min(stage.done, stage.total)) / Math.max(stage.total, 1));
    const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
    const line = `${bar} ${describe(stage, remaining)}`;
    this.stream.write(`\r\x1b[2K${line.slice(0, Math.max(20, (this.stream.columns || 100) - 1))}`);
  }
  protected end(stage: CurrentStage, seconds: number): void {
    this.stream.write(`\r\x1b[2K${describeEnd(stage, seconds)}\n`);
  }
}

class JsonProgress extends StagedProgress {
  note(text: string): void {
    this.#write({ event: "note", text });
  }
  protected begin(stage: CurrentStage): void {
    this.#write({ event: "stage", stage: stage.id, total: stage.total, done: stage.done });
  }
  protected show(stage: CurrentStage, remaining: number | undefined): void {
    const { id, total, done, fields } = stage;
    this.#write({ event: "progress", stage: id, total, done, secondsLeft: remaining, ...fields });
  }
  protected end(stage: CurrentStage, seconds: number): void {
    const { id, total, done, fields } = stage;
    this.#write({ event: "stageEnd", stage: id, total, done, seconds, ...fields });
  }
  #write(event: Record<string, Json | undefined>): void {
    this.stream.write(`${visibleJson(event)}\n`);
  }
}

class QuietProgress implements Progress {
  stage(): void {}
  tick(): void {}
  note(): void {}
  done(): void {}
}

/** @returns a progress display of the given mode on the given stream */
export function createProgress(options: ProgressOptions): Progress {
  switch (options.mode) {
    case "line":
      return new LineProgress(options, interval.line);
    case "plain":
      return new PlainProgress(options, interval.plain);
    case "json":
      return new JsonProgress(options, interval.json);
    case "quiet":
      return new QuietProgress();
  }
}
