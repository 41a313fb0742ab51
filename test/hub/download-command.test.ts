import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { spa, start } from "../cli/spa.ts";
import { fixture } from "../engine/fixtures.ts";
import { killHard } from "../run/programs/child.ts";
import { TinyHub } from "./tiny-hub.ts";

const id = "spa/tiny-qwen2";
const weights = readFileSync(fixture("qwen2_tiny", "model.safetensors"));
const root = mkdtempSync(join(tmpdir(), "spa-download-"));
let hub: TinyHub;
let home: string;

beforeEach(async () => {
  home = mkdtempSync(join(root, "home-"));
  hub = await TinyHub.start(id, {
    "config.json": readFileSync(fixture("qwen2_tiny", "config.json")),
    "tokenizer.json": readFileSync(fixture("text", "qwen2.5", "tokenizer.json")),
    "model.safetensors": weights,
  });
});
afterEach(() => hub[Symbol.asyncDispose]());
afterAll(() => rmSync(root, { recursive: true, force: true }));

const variables = () => ({ HF_HOME: home, HF_ENDPOINT: hub.endpoint, HF_HUB_OFFLINE: "" });

test("spa download prints the folder, and what it fetches on the way", async () => {
  const { code, stdout, stderr } = await spa(root, ["download", id], variables());
  expect(code, stderr).toBe(0);
  const folder = stdout.trim();
  expect(folder).toBe(join(home, "hub", "models--spa--tiny-qwen2", "snapshots", hub.commit));
  expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
  expect(stderr).toContain(`download ${id} (MB)`);
  const offline = await spa(root, ["download", id, "-q"], { ...variables(), HF_HUB_OFFLINE: "1" });
  expect([offline.stdout.trim(), offline.stderr]).toEqual([folder, ""]);
});

test("a download whose process is killed goes on with the rest", async () => {
  hub.fault = ({ path }) =>
    path.endsWith(hub.etag("model.safetensors")) ? { cutAfter: 300_000, stalls: true } : undefined;
  const running = start(root, ["download", id], variables());
  const blobs = join(home, "hub", "models--spa--tiny-qwen2", "blobs");
  const partial = () => readdirSync(blobs).find((name) => name.includes("incomplete"));
  const size = () => {
    try {
      return statSync(join(blobs, partial()!)).size;
    } catch {
      return 0;
    }
  };
  while (size() < 300_000) await sleep(20);
  await killHard(running.child);
  hub.fault = () => undefined;
  hub.requests.length = 0;
  const { code, stdout } = await spa(root, ["download", id, "-q"], variables());
  expect(code).toBe(0);
  expect(hub.bytesSent).toBe(weights.length - 300_000);
  expect(readFileSync(join(stdout.trim(), "model.safetensors"))).toEqual(weights);
});

test("two processes at once fetch each file once", async () => {
  const both = await Promise.all([1, 2].map(() => spa(root, ["download", id], variables())));
  expect(both.map(({ code, stderr }) => (code === 0 ? "" : stderr))).toEqual(["", ""]);
  expect(both[0].stdout).toBe(both[1].stdout);
  const total = [...hub.files.values()].reduce((sum, file) => sum + file.length, 0);
  expect(hub.bytesSent).toBe(total);
});

test("what goes wrong is one error with a way out and an exit code of its own", async () => {
  hub.fault = ({ path }) =>
    path.includes("/resolve/") ? { status: 401, headers: { "x-error-code": "GatedRepo" } } : undefined;
  const gated = await spa(root, ["download", id], variables());
  expect(gated.code).toBe(6);
  expect(gated.stderr).toContain(`error HUB_UNAUTHORIZED: ${id} is gated`);
  expect(gated.stderr).toContain(`hint: accept it at ${hub.endpoint}/${id}`);
  const offline = await spa(root, ["train", `model=${id}`], { ...variables(), HF_HUB_OFFLINE: "1" });
  expect([offline.code, offline.stderr]).toEqual([6, expect.stringContaining("error HUB_OFFLINE")]);
  expect((await spa(root, ["download", "./folder"], variables())).code).toBe(2);
});

test("a tokenizer that does not fit the model is refused before there is a run", async () => {
  const { code, stderr } = await spa(root, ["train", `model=${id}`, "--name", "unfit"], variables());
  expect(code).toBe(4);
  expect(stderr).toContain("error BAD_TOKENIZER");
  expect(stderr).toContain("the model's vocabulary holds only 512");
  expect(readdirSync(root)).not.toContain("runs");
});
