import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { spa, start, writeTinyConfig } from "./spa.ts";

const example = pathToFileURL(join(import.meta.dirname, "..", "..", "examples", "coin-grid-environment.mjs"));

/** Sends this process a signal at the reset whose number SIGNAL_AT names: levels are drawn while a run is set up. */
const environment = `
import { create as createGame } from ${JSON.stringify(example.href)};
export const name = "signalling";
let resets = 0;
export function create(options) {
  const game = createGame(options);
  return {
    ...game,
    name,
    reset(start) {
      if (++resets === Number(process.env.SIGNAL_AT)) process.kill(process.pid, process.env.SIGNAL);
      return game.reset(start);
    },
  };
}`;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "spa-interrupt-"));
  writeTinyConfig(folder);
  writeFileSync(join(folder, "signalling.mjs"), environment);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

test.each([
  ["SIGINT", 1],
  ["SIGTERM", 9],
  ["SIGHUP", 16],
  ["SIGINT", 30],
  ["SIGTERM", 75],
] as const)(
  "%s while a run is set up, at level %i, stops it before it trains, and it goes on to its end",
  async (signal, at) => {
    const name = `set-up-${at}`;
    const args = [
      "train",
      "tiny.yaml",
      "--env",
      "signalling.mjs",
      "--name",
      name,
      "arms=[control]",
      "ppo.steps=1",
    ];
    const { code, stderr } = await spa(folder, args, { SIGNAL: signal, SIGNAL_AT: String(at) });
    expect(code, stderr).toBe(codes[signal]);
    expect(stderr).toMatch(/stopped\. Go on with: npx spa train --resume runs\/|stopped before a run began/);
    const path = join(folder, "runs", name);
    if (!existsSync(path)) return;
    const run = RunFolder.open(path);
    expect(run.stages.filter(({ id, state }) => state === "done" && !id.startsWith("evaluate/"))).toEqual([]);
    run.lock()[Symbol.dispose]();
    if (at !== 9) return;
    const resumed = await spa(folder, ["train", "--resume", `runs/${name}`]);
    expect(resumed.code, resumed.stderr).toBe(0);
  },
);

test("a signal at any instant of a start ends it, and what there is of a run goes on", async () => {
  const moments = Array.from({ length: 8 }, (_, index) => index);
  for (const moment of moments) {
    const signal = moment % 2 === 0 ? "SIGINT" : "SIGTERM";
    const name = `instant-${moment}`;
    const running = start(folder, ["train", "tiny.yaml", "--name", name]);
    // Before the program has read its own code, the system ends it.
    if (moment < 2) await sleep(300 * moment);
    else if (moment < 4) await running.says("run folder");
    else if (moment < 6) await running.says("base  begins");
    else await running.says("base  done");
    await sleep((moment * 67) % 150);
    running.child.kill(signal);
    const end = await running.end;
    expect(end.signal ?? end.code).toBe(end.signal === null ? codes[signal] : signal);
    if (end.signal === null) expect(end.stderr).toMatch(/stopped/);
    const path = join(folder, "runs", name);
    if (existsSync(path)) RunFolder.open(path).lock()[Symbol.dispose]();
  }
});

test.each(["eval", "ppo"])("a signal stops spa %s in order, too", async (command) => {
  const name = `stage-${command}`;
  const args = [command, "tiny.yaml", "--env", "signalling.mjs", "--name", name, "arms=[control]"];
  const { code, stderr } = await spa(folder, args, { SIGNAL: "SIGTERM", SIGNAL_AT: "10" });
  expect(code, stderr).toBe(143);
  expect(stderr).toMatch(/stopped/);
});
