import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import type { SpaError } from "../../lib/errors.ts";
import { JsonLines } from "../../lib/files/json-lines.ts";
import { MetricsLog } from "../../lib/run/metrics.ts";
import { TrajectoryLog } from "../../lib/run/trajectory-log.ts";
import { trajectory } from "../run/programs/stand-ins.ts";
import { errorOf } from "../thrown-error.ts";

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-lines-"));
  path = join(folder, "log.jsonl");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const rowSchema = z.object({ n: z.int(), text: z.string() });
type Row = z.infer<typeof rowSchema>;

const rowsOf = fc.array(fc.record({ n: fc.nat(5), text: fc.string({ unit: "binary", maxLength: 12 }) }), {
  maxLength: 8,
});
const pieces = fc.integer({ min: 1, max: 40 });

function textOf(rows: readonly Row[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
}

test("in pieces of any size rows, places, filtering and repair are those of the whole text", () => {
  fc.assert(
    fc.property(
      rowsOf,
      pieces,
      fc.constantFrom("", "\n\n", '{"n":1', "\0\0\n\0"),
      fc.nat(6),
      (rows, piece, torn, bound) => {
        const log = () => new JsonLines(path, rowSchema, piece);
        writeFileSync(path, textOf(rows) + torn);
        expect(log().read()).toEqual(rows);
        const bytes = readFileSync(path);
        for (const { row, line } of log().entries()) {
          expect(`${bytes.subarray(line.begin, line.end)}`).toBe(`${JSON.stringify(row)}\n`);
          expect(log().at(line)).toEqual(row);
        }
        log().repair();
        expect(readFileSync(path, "utf8")).toBe(textOf(rows));
        writeFileSync(path, textOf(rows) + torn);
        log().filter(({ n }) => n < bound);
        expect(readFileSync(path, "utf8")).toBe(textOf(rows.filter(({ n }) => n < bound)));
        expect(readdirSync(folder)).toEqual(["log.jsonl"]);
      },
    ),
    { numRuns: 150 },
  );
});

test.each(["\n", "\n\n\n", "\n{}", " \n", "\r\n", "\0\n"])(
  "a file of %j alone has no rows, and repair empties it",
  (text) => {
    writeFileSync(path, text);
    expect(new JsonLines(path).read()).toEqual([]);
    new JsonLines(path).filter(() => true);
    expect(readFileSync(path, "utf8")).toBe("");
    writeFileSync(path, text);
    new JsonLines(path).repair();
    expect(readFileSync(path, "utf8")).toBe("");
  },
);

test("a file larger than a string can be is read, sought in and cut back", () => {
  const log = new MetricsLog(path);
  for (let step = 1; step <= 3; step++) log.append({ stage: "a", step });
  log.close();
  // A torn end of zeros, sparse on disk, beyond the longest string.
  const descriptor = openSync(path, "r+");
  ftruncateSync(descriptor, 600 * 2 ** 20);
  closeSync(descriptor);
  expect(new MetricsLog(path).read().map(({ step }) => step)).toEqual([1, 2, 3]);
  new MetricsLog(path).truncateAfter("a", 2);
  expect(readFileSync(path, "utf8")).toBe('{"stage":"a","step":1}\n{"stage":"a","step":2}\n');
});

test("a line too long to be one of ours is named", () => {
  const descriptor = openSync(path, "w");
  ftruncateSync(descriptor, 2 ** 28 + 10);
  writeSync(descriptor, Buffer.from("\n{}\n"), 0, 4, 2 ** 28 + 10);
  closeSync(descriptor);
  const error = errorOf(() => new JsonLines(path).read());
  expect([error.code, error.message]).toEqual([
    "BAD_CHECKPOINT",
    expect.stringContaining("line 1, is longer than"),
  ]);
});

test("a folder in the place of a log is told as what it is", () => {
  const error = errorOf(() => new JsonLines(folder).read()) as SpaError;
  expect([error.code, error.message]).toEqual(["FILE_FAILED", expect.stringContaining("could not be read")]);
});

test("rows of another shape are refused by file, line and field", () => {
  const metrics = new MetricsLog(path);
  for (const [bad, field] of [
    ['{"stage":7,"step":1}', "stage"],
    ['{"stage":"a"}', "step"],
    ['{"stage":"a","step":1,"loss":[1]}', "loss"],
    ["[]", "the content"],
    ["null", "the content"],
  ]) {
    writeFileSync(path, `{"stage":"a","step":1}\n${bad}\n`);
    const error = errorOf(() => metrics.read());
    expect(error.code).toBe("BAD_CHECKPOINT");
    expect(error.message).toContain(`${path}, line 2: ${field}: `);
    expect(error.hint).toContain("line 2");
  }
});

test("a trajectory of another shape is refused whatever field it is", () => {
  const log = new TrajectoryLog(path);
  const turn = {
    ...{
      begin: 1,
      end: 3,
      reward: 0,
      valid: true,
      actions: ["Up"],
      executed: 1,
      effective: true,
      message: "m",
    },
    ...{ stateBefore: { grid: "a", structured: "b" }, stateAfter: { grid: "a", structured: "b" } },
  };
  log.append(1, [{ ...trajectory(1), turns: [turn] }], { decode: (ids) => ids.join(" ") });
  log.close();
  const [row] = log.read() as unknown as Record<string, unknown>[];
  expect(log.index()).toMatchObject([{ step: 1, seed: 1, turns: 1, line: { number: 1, begin: 0 } }]);
  const places: [string, unknown][] = Object.keys(row).map((key) => [key, { ...row, [key]: { odd: 1 } }]);
  const [logged] = row.turns as Record<string, unknown>[];
  for (const key of Object.keys(logged))
    places.push([`turns.0.${key}`, { ...row, turns: [{ ...logged, [key]: null }] }]);
  places.push(["pieces.0", { ...row, pieces: [7] }], ["pieces.0.3", { ...row, pieces: [[0, 1, 2, 3]] }]);
  for (const [field, value] of places) {
    writeFileSync(path, `${JSON.stringify(value)}\n`);
    expect(errorOf(() => new TrajectoryLog(path).index()).message).toContain(`line 1: ${field}`);
  }
});
