// `spa play`, `spa serve` and `spa ppo --from-sessions`, as a user types them.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Agent } from "../../lib/index.ts";
import { packageRoot } from "../../lib/package.ts";
import { SessionLog } from "../../lib/run/session-log.ts";
import { type Outcome, spa, writeTinyConfig } from "./spa.ts";

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "spa-policy-"));
  writeTinyConfig(folder);
  const { code, stderr } = await spa(folder, [
    "train",
    "tiny.yaml",
    "--name",
    "first",
    "arms=[control]",
    "-q",
  ]);
  expect(code, stderr).toBe(0);
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs `spa` with something to read. */
function typed(args: string[], input: string): Promise<Outcome> {
  const child = spawn(process.execPath, [join(packageRoot(), "bin", "spa.mjs"), ...args], { cwd: folder });
  const written = { stdout: "", stderr: "" };
  child.stdout.on("data", (data) => {
    written.stdout += data;
  });
  child.stderr.on("data", (data) => {
    written.stderr += data;
  });
  child.stdin.end(input);
  return new Promise((resolve) => child.on("close", (code, signal) => resolve({ code, signal, ...written })));
}

test("play shows a policy's turns as plain text", async () => {
  const args = ["play", "runs/first", "--level", "130", "--sampling-seed", "3"];
  const one = await typed(args, "");
  expect(one.code, one.stderr).toBe(0);
  expect(one.stdout).toMatch(/^frozen-lake: first plays\n\n── turn 1 ──\n→ .*reward /);
  expect(one.stdout).toMatch(
    /first: (not )?solved in \d turns?, reward .* \(level seed 130, shortest solution \d+\)/,
  );
  expect(one.stdout).not.toContain("\x1b");
  const level = "P___\n____\n____\n___G";
  const text = await typed(["play", "--level", level, "--format", "plain"], "");
  expect(text.stdout, text.stderr).toContain("level seed 0, shortest solution 6");
}, 300_000);

test("a person plays the same level first, and is asked again for what is no action", async () => {
  const level = "P___\n____\n____\n___G";
  const answers = "fly\nDown || Down || Down || Right || Right || Right\n";
  const { stdout, code, stderr } = await typed(
    [
      "play",
      "--human",
      "--level",
      level,
      "--set",
      "protocol.maxActionsPerTurn=6",
      "--set",
      "protocol.maxActions=6",
    ],
    answers,
  );
  expect(code, stderr).toBe(0);
  expect(stdout).toContain("no action: fly");
  expect(stdout).toContain("you: solved in 1 turn, reward 1 (level seed 0, shortest solution 6)");
  expect(stdout.lastIndexOf("you: solved")).toBeGreaterThan(stdout.indexOf("first: "));
});

test("serve answers until it is stopped, and what it records trains a model that can be served again", async () => {
  const child = spawn(
    process.execPath,
    [
      join(packageRoot(), "bin", "spa.mjs"),
      "serve",
      "--port",
      "0",
      "--record",
      "sessions.jsonl",
      "--slots",
      "4",
    ],
    { cwd: folder, env: { ...process.env, SPA_API_KEY: "sesame" } },
  );
  let written = "";
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  child.stderr.on("data", (data) => {
    written += data;
  });
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (data) => {
      written += data;
      const found = /serving on (\S+)/.exec(written);
      if (found) resolve(found[1]);
    });
    void ended.then(() => reject(new Error(written)));
  });
  expect(written).toMatch(/^first: control-ppo-4, 4 slots of \d+ tokens$/m);
  const post = (path: string, body: object, key = "sesame") =>
    fetch(`${url}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
      body: JSON.stringify(body),
    });
  expect((await post("/completions", {}, "other")).status).toBe(401);
  for (let index = 0; index < 4; index++) {
    const messages = [{ role: "user", content: "Think and act:\nP___\n____\n____\n___G" }];
    const answer = await post("/chat/completions", { messages, session_id: `s${index}`, max_tokens: 30 });
    expect(answer.status).toBe(200);
    expect((await post("/rewards", { session_id: `s${index}`, reward: index % 2 })).status).toBe(200);
  }
  child.kill("SIGINT");
  expect(await ended).toBe(130);
  expect(written).toContain("closing");
  expect(new SessionLog(join(folder, "sessions.jsonl")).read().map(({ session }) => session)).toEqual([
    "s0",
    "s1",
    "s2",
    "s3",
  ]);

  const trained = await spa(folder, [
    "ppo",
    "--from-sessions",
    "sessions.jsonl",
    "--to",
    "next",
    "ppo.epochs=1",
  ]);
  expect(trained.code, trained.stderr).toBe(0);
  expect(trained.stdout).toMatch(
    /4 sessions, mean reward 0\.500\ntrained on 4 of them: \d+ sampled tokens, \d+ updates/,
  );
  await using agent = await Agent.load(join(folder, "next"));
  expect(agent.name).toBe("next");
  const nowhere = await spa(folder, ["ppo", "--from-sessions", "sessions.jsonl"]);
  expect([nowhere.code, nowhere.stderr]).toEqual([2, expect.stringContaining("--to <folder>")]);
}, 600_000);

test("a wrong option is said before anything is loaded", async () => {
  const outcome = await spa(folder, ["serve", "runs/first", "--adapter", "careful"]);
  expect([outcome.code, outcome.stderr]).toEqual([2, expect.stringContaining("<name>=<folder>")]);
});
