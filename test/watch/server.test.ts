import { type IncomingMessage, request } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { type WatchOptions, watchRuns } from "../../lib/watch/server.ts";
import { WatchedRuns } from "../../lib/watch/watched-runs.ts";
import { exampleRun } from "../report/example-run.ts";

async function watched(options: WatchOptions = {}): Promise<string> {
  const run = await exampleRun();
  const server = await watchRuns(new WatchedRuns([run.path]), options);
  onTestFinished(() => server.close());
  return server.address;
}

interface Asked {
  method?: string;
  headers?: Record<string, string>;
}

/** Asks with headers that `fetch` would not let through. */
function ask(
  address: string,
  { method = "GET", headers = {} }: Asked = {},
): Promise<{ status: number; headers: IncomingMessage["headers"]; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(address, { method, headers }, (answer) => {
      let body = "";
      answer.on("data", (piece) => {
        body += piece;
      });
      answer.on("end", () => resolve({ status: answer.statusCode!, headers: answer.headers, body }));
    });
    asked.on("error", reject);
    asked.end();
  });
}

test("the page is for those who know its address, and forbids scripts that stand in it", async () => {
  const address = await watched();
  const { port, pathname } = new URL(address);
  const { status, headers, body } = await ask(address);
  expect([status, pathname.length > 20]).toEqual([200, true]);
  expect(body).not.toMatch(/<script>|<style|\son\w+=|style=/);
  expect(headers["content-security-policy"]).toContain("default-src 'none'; script-src 'self'");
  expect(headers["content-security-policy"]).not.toContain("unsafe");
  const statuses = async (path: string, asked: Asked = {}) =>
    (await ask(new URL(path, `http://127.0.0.1:${port}`).href, asked)).status;
  expect(await statuses("/")).toBe(404);
  expect(await statuses(`/${"a".repeat(pathname.length - 2)}/`)).toBe(404);
  expect(await statuses(`${pathname}nothing`)).toBe(404);
  expect(await statuses(`${pathname}../../package.json`)).toBe(404);
  expect(await statuses(`${pathname}constructor`)).toBe(404);
});

test("names that lead here from elsewhere, and pages of other origins, are refused", async () => {
  const address = await watched();
  const { port } = new URL(address);
  const status = async (headers: Record<string, string>, method = "GET") =>
    (await ask(address, { method, headers })).status;
  expect(await status({ host: `evil.example:${port}` })).toBe(421);
  expect(await status({ host: "127.0.0.1:1" })).toBe(421);
  expect(await status({ host: `localhost:${port}` })).toBe(200);
  expect(await status({ origin: "http://evil.example" })).toBe(403);
  expect(await status({ origin: "null" })).toBe(403);
  expect(await status({ "sec-fetch-site": "cross-site" })).toBe(403);
  expect(await status({ origin: `http://127.0.0.1:${port}` })).toBe(200);
});

test("other machines are let in with a password alone", async () => {
  await expect(watched({ host: "0.0.0.0" })).rejects.toMatchObject({ code: "BAD_ARGUMENT" });
  const address = await watched({ password: "päss word" });
  const given = (password: string) => ({
    authorization: `Basic ${Buffer.from(`me:${password}`).toString("base64")}`,
  });
  const refused = await ask(address);
  expect([refused.status, refused.headers["www-authenticate"]]).toEqual([401, 'Basic realm="spa watch"']);
  expect((await ask(address, { headers: given("päss") })).status).toBe(401);
  expect((await ask(address, { headers: given("päss word") })).status).toBe(200);
});

test("what is asked for and is not there is said, and nobody can be stopped who does not work", async () => {
  const address = await watched();
  const refused = async (path: string, method = "GET") => {
    const { status, body } = await ask(`${address}${path}`, { method });
    return [status, (JSON.parse(body) as { error: string }).error];
  };
  expect(await refused("stages?run=../other")).toEqual([400, "there is no such run"]);
  expect(await refused("trajectory?run=example&stage=spa/ppo&line=99")).toEqual([
    400,
    "there is no such trajectory",
  ]);
  expect(await refused("trajectory?run=example&stage=../../x&line=1")).toEqual([
    400,
    "there is no such trajectory",
  ]);
  expect(await refused("stop?run=example", "POST")).toEqual([400, "nobody works in example"]);
});

test("trajectories are found by step, outcome, distance, reason and text", async () => {
  const address = await watched();
  const found = async (query: string) =>
    (JSON.parse((await ask(`${address}trajectories?run=example&stage=spa/ppo&${query}`)).body) as unknown[])
      .length;
  expect(await found("")).toBe(30);
  expect(await found("step=2")).toBe(5);
  expect(await found("step=2&success=no")).toBe(0);
  expect(await found("distance=4&success=yes")).toBe(30);
  expect(await found("text=SCRIPT>ALERT")).toBe(30);
  expect(await found("text=nowhere")).toBe(0);
  expect(await found("reason=malformed")).toBe(0);
});
