import { expect, test } from "vitest";
import { createProgress, formatDuration, formatFigure, type ProgressMode } from "../../lib/run/progress.ts";

/** A stage of 10 steps of 2 s each, begun after 2, that logs figures. */
function record(mode: ProgressMode, columns = 200): string[] {
  const written: string[] = [];
  let now = 1000;
  const stream = { columns, write: (text: string) => written.push(text) };
  const progress = createProgress({ mode, stream, clock: () => now });
  progress.stage("spa/ppo", 10, 2);
  for (let step = 3; step <= 8; step++) {
    now += 2000;
    progress.tick(step, { reward: 0.12345, "tok/s": 34_567, kl: Number.NaN, entropy: undefined });
  }
  progress.note("saved");
  progress.done();
  return written;
}

test("a terminal gets one line that is rewritten, with a bar and the time left, cut to its width", () => {
  const written = record("line");
  expect(written[0]).toBe("\r\x1b[2K████░░░░░░░░░░░░░░░░ spa/ppo  2/10");
  expect(written[1]).toBe("\r\x1b[2K██████░░░░░░░░░░░░░░ spa/ppo  3/10  ETA 14s  reward 0.123  tok/s 34.6k");
  expect(written.at(-2)).toBe("\r\x1b[2Ksaved\n");
  expect(written.at(-1)).toBe("\r\x1b[2Kspa/ppo  stopped at 8/10 in 12s  reward 0.123  tok/s 34.6k\n");
  const narrow = record("line", 30)[1];
  expect(narrow.replace("\r\x1b[2K", "")).toHaveLength(29);
});

test("elsewhere plain lines come at a modest rate", () => {
  expect(record("plain")).toEqual([
    "spa/ppo  begins (10, goes on after 2)\n",
    "spa/ppo  7/10  ETA 6s  reward 0.123  tok/s 34.6k\n",
    "saved\n",
    "spa/ppo  stopped at 8/10 in 12s  reward 0.123  tok/s 34.6k\n",
  ]);
});

test("JSON lines carry figures in full", () => {
  const events = record("json").map((line) => JSON.parse(line));
  expect(events[0]).toEqual({ event: "stage", stage: "spa/ppo", total: 10, done: 2 });
  expect(events[1]).toMatchObject({
    event: "progress",
    done: 3,
    secondsLeft: 14,
    reward: 0.12345,
    "tok/s": 34567,
  });
  expect(events.at(-2)).toEqual({ event: "note", text: "saved" });
  expect(events.at(-1)).toMatchObject({ event: "stageEnd", done: 8, seconds: 12 });
});

test("quiet says nothing", () => {
  expect(record("quiet")).toEqual([]);
});

test("with a plan, stages are shown with their place in it", () => {
  const written: string[] = [];
  const stream = { write: (text: string) => written.push(text) };
  const progress = createProgress({
    mode: "plain",
    stream,
    plan: ["base", "spa/ppo", "control/ppo"],
    clock: () => 0,
  });
  progress.stage("spa/ppo", 5);
  progress.done();
  expect(written).toEqual(["[2/3] spa/ppo  begins (5)\n", "[2/3] spa/ppo  stopped at 0/5 in 0s\n"]);
});

test("durations and figures are short", () => {
  expect([0.4, 59.6, 75, 3599, 3600, 86_400].map(formatDuration)).toEqual([
    "0s",
    "1m00s",
    "1m15s",
    "59m59s",
    "1h00m",
    "24h00m",
  ]);
  const figures = [0, 12, 9999, 12_345, 1_234_567, 0.5, 0.000_12, -3.2567, "x"].map(formatFigure);
  expect(figures).toEqual(["0", "12", "9999", "12.3k", "1.23M", "0.5", "1.2e-4", "-3.26", "x"]);
});
