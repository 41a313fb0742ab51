import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { tinyConfig } from "../cli/spa.ts";

const root = join(import.meta.dirname, "..", "..");
let folder: string;
let child: ChildProcess;
let written = "";
let url: URL;
let ended: Promise<number | null>;

async function says(pattern: RegExp): Promise<RegExpExecArray> {
  for (;;) {
    const found = pattern.exec(written);
    if (found) return found;
    if (child.exitCode !== null) throw new Error(`ended without saying ${pattern}: ${written}`);
    await sleep(50);
  }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "spa-serve-"));
  writeFileSync(join(folder, "tiny.yaml"), tinyConfig.replace("steps: 4", "steps: 2000"));
  child = spawn(
    process.execPath,
    [join(root, "examples", "serve-while-training.mjs"), "tiny.yaml", "arms=[control]"],
    {
      cwd: folder,
      env: { ...process.env, PORT: "0" },
    },
  );
  child.stdout!.on("data", (data) => {
    written += data;
  });
  child.stderr!.on("data", (data) => {
    written += data;
  });
  ended = new Promise((resolve) => child.on("close", resolve));
  url = new URL((await says(/serving on (\S+)/))[1]);
});
afterAll(async () => {
  child.kill("SIGKILL");
  await ended;
  rmSync(folder, { recursive: true, force: true });
});

function post(body: string): Promise<Response> {
  return fetch(url, { method: "POST", body });
}

/** Sends bytes, lets `then` do what it likes with the connection, and waits until that is closed. */
async function raw(text: string, then: (socket: ReturnType<typeof connect>) => void): Promise<void> {
  const socket = connect(Number(url.port), "127.0.0.1");
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.on("close", resolve));
  await new Promise((resolve) => socket.on("connect", resolve));
  socket.write(text);
  then(socket);
  await closed;
}

const head = (length: number) => `POST /act HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`;

test("neither clients that hang up nor bodies of any size or content end service and training", async () => {
  await raw(head(1000), (socket) => setTimeout(() => socket.resetAndDestroy(), 50));
  await raw(`${head(40)}{"level": "P___`, (socket) => setTimeout(() => socket.destroy(), 50));
  await raw("\x00\x01 no HTTP\r\n\r\n", (socket) => socket.resume());
  await Promise.all(
    Array.from({ length: 20 }, () => raw(`${head(15)}{"level": "PG"}`, (socket) => socket.destroy())),
  );

  // A client that would send 600 MB is answered and cut off as soon as it has sent too much.
  let sent = 0;
  let heard = "";
  await raw(head(600 * 2 ** 20), (socket) => {
    const chunk = Buffer.alloc(2 ** 16, 120);
    const pour = () => {
      while (!socket.destroyed && sent < 600 * 2 ** 20) {
        sent += chunk.length;
        if (!socket.write(chunk)) return socket.once("drain", pour);
      }
    };
    socket.on("data", (data) => {
      heard += data;
    });
    pour();
  });
  expect(sent).toBeLessThan(64 * 2 ** 20);
  if (heard !== "") expect(heard).toContain("413");

  for (const [body, error] of [
    ["", "not JSON"],
    ["{", "not JSON"],
    ["null", "level must be a text"],
    ["[]", "level must be a text"],
    ['{"level": 5}', "level must be a text"],
  ]) {
    const response = await post(body);
    expect([response.status, ((await response.json()) as { error: string }).error]).toEqual([
      400,
      expect.stringContaining(error),
    ]);
  }
  expect((await fetch(new URL("/other", url))).status).toBe(404);

  await says(/base {2}done/);
  const broken = await post(JSON.stringify({ level: "no level" }));
  expect([broken.status, await broken.json()]).toEqual([400, expect.objectContaining({ code: "BAD_LEVEL" })]);
  const answer = await post(JSON.stringify({ level: "P___\n_O__\n____\n___G" }));
  expect([answer.status, await answer.json()]).toEqual([
    200,
    expect.objectContaining({ checkpoint: expect.any(String) }),
  ]);

  child.kill("SIGTERM");
  expect([await ended, written]).toEqual([0, expect.stringContaining("stopped; to go on")]);
  const run = RunFolder.open(RunFolder.latest(join(folder, "runs"))!);
  expect(run.stage("base")?.state).toBe("done");
  run.lock()[Symbol.dispose]();
});
