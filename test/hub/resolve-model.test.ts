import { spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { lockHolder } from "../../lib/files/lock.ts";
import { CachedRepository } from "../../lib/hub/cache.ts";
import type { DownloadProgress } from "../../lib/hub/download-snapshot.ts";
import { type ResolveOptions, resolveModel } from "../../lib/hub/resolve-model.ts";
import { hubSettings } from "../../lib/hub/settings.ts";
import { fixture } from "../engine/fixtures.ts";
import { rejection } from "../thrown-error.ts";
import { TinyHub } from "./tiny-hub.ts";

const id = "spa/tiny-qwen2";
const weights = readFileSync(fixture("qwen2_tiny", "model.safetensors"));
const tokenizer = Buffer.from('{"model":{}}');
const files: Record<string, Uint8Array> = {
  "config.json": readFileSync(fixture("qwen2_tiny", "config.json")),
  "generation_config.json": readFileSync(fixture("qwen2_tiny", "generation_config.json")),
  "tokenizer.json": tokenizer,
  "chat_template.jinja": Buffer.from("{{ messages }}"),
  "model.safetensors": weights,
  "pytorch_model.bin": Buffer.from("a pickle"),
  "README.md": Buffer.from("words"),
};
const wanted = Object.keys(files).filter((name) => !["pytorch_model.bin", "README.md"].includes(name));
const wantedBytes = wanted.reduce((sum, name) => sum + files[name].length, 0);

let hub: TinyHub;
let home: string;

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "spa-hub-"));
  hub = await TinyHub.start(id, files);
});
afterEach(async () => {
  await hub[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
  vi.unstubAllEnvs();
});

function options(more: ResolveOptions = {}, variables: Record<string, string> = {}): ResolveOptions {
  const settings = hubSettings({ HF_HOME: home, HF_ENDPOINT: `${hub.endpoint}/`, ...variables });
  return { settings, attempts: { count: 4, delay: 1 }, ...more };
}

const repository = () => join(home, "hub", "models--spa--tiny-qwen2");
const partials = () => readdirSync(join(repository(), "blobs")).filter((name) => name.includes("incomplete"));

test("a model is downloaded into the cache's standard layout, without pickles", async () => {
  const progress: DownloadProgress[] = [];
  const { folder, commit } = await resolveModel(
    id,
    options({ onProgress: (now) => progress.push({ ...now }) }),
  );
  expect(commit).toBe(hub.commit);
  expect(folder).toBe(join(repository(), "snapshots", hub.commit));
  expect(readdirSync(folder).sort()).toEqual([...wanted].sort());
  expect(readFileSync(join(repository(), "refs", "main"), "utf8")).toBe(hub.commit);
  for (const name of wanted) {
    expect(lstatSync(join(folder, name)).isSymbolicLink()).toBe(true);
    expect(readlinkSync(join(folder, name))).toBe(join("..", "..", "blobs", hub.etag(name)));
    expect(readFileSync(join(folder, name))).toEqual(Buffer.from(files[name]));
  }
  const last = progress.at(-1)!;
  expect(last).toMatchObject({
    bytes: wantedBytes,
    totalBytes: wantedBytes,
    files: wanted.length,
    totalFiles: wanted.length,
  });
  expect(progress.every(({ bytes }, k) => k === 0 || bytes >= progress[k - 1].bytes)).toBe(true);
  expect(hub.bytesSent).toBe(wantedBytes);
});

test("chat templates beside the default one are fetched, and nothing else in folders", async () => {
  const inFolder = (name: string) => `additional_chat_templates/${name}`;
  hub.files.set(inFolder("tool_use.jinja"), Buffer.from("{{ tools }}"));
  hub.files.set(inFolder("rag.jinja"), Buffer.from("{{ documents }}"));
  for (const other of ["notes.md", "deeper/x.jinja", "..\\\\x.jinja"])
    hub.files.set(inFolder(other), Buffer.from("no"));
  hub.files.set("onnx/config.json", Buffer.from("no"));
  const { folder } = await resolveModel(id, options());
  expect(readdirSync(folder).sort()).toEqual([...wanted, "additional_chat_templates"].sort());
  expect(readdirSync(join(folder, "additional_chat_templates")).sort()).toEqual([
    "rag.jinja",
    "tool_use.jinja",
  ]);
  expect(readFileSync(join(folder, inFolder("tool_use.jinja")), "utf8")).toBe("{{ tools }}");
  expect(readlinkSync(join(folder, inFolder("rag.jinja")))).toMatch(/^..\/..\/..\/blobs\/[0-9a-f]+$/);
});

test("what is there is not fetched again: a branch costs one request, a commit none", async () => {
  await resolveModel(id, options());
  hub.requests.length = 0;
  await resolveModel(id, options());
  expect(hub.requests.map(({ path }) => path)).toEqual([`/api/models/${id}/revision/main`]);
  hub.requests.length = 0;
  const { commit } = await resolveModel(id, options({ revision: hub.commit }));
  expect(commit).toBe(hub.commit);
  expect(hub.requests).toEqual([]);
});

test("a branch that has moved brings the new commit, sharing the files that are the same", async () => {
  const old = await resolveModel(id, options());
  hub.refs.set("main", "3".repeat(40));
  hub.files.set("config.json", Buffer.from('{"new":true}'));
  const before = hub.bytesSent;
  const now = await resolveModel(id, options());
  expect(now.commit).toBe("3".repeat(40));
  expect(hub.bytesSent - before).toBe('{"new":true}'.length);
  expect(readFileSync(join(old.folder, "config.json"))).toEqual(Buffer.from(files["config.json"]));
});

test("a blob that was cut short is fetched again once its file is deleted", async () => {
  const { folder } = await resolveModel(id, options());
  const file = join(folder, "model.safetensors");
  writeFileSync(join(repository(), "blobs", hub.etag("model.safetensors")), weights.subarray(0, 1000));
  rmSync(file);
  await resolveModel(id, options());
  expect(readFileSync(file)).toEqual(weights);
});

test("an interrupted download goes on with the bytes that are missing", async () => {
  const cut = 300_000;
  hub.fault = ({ path }) =>
    path.startsWith("/cdn/") && path.endsWith(hub.etag("model.safetensors")) ? { cutAfter: cut } : undefined;
  const error = await rejection(resolveModel(id, options({ attempts: { count: 1, delay: 1 } })));
  expect(error.code).toBe("HUB_FAILED");
  expect(partials()).toHaveLength(1);
  const kept = statSync(join(repository(), "blobs", partials()[0])).size;
  expect(kept).toBeGreaterThan(0);
  // Half a download is no model, with the network or without.
  const offline = await rejection(resolveModel(id, options({}, { HF_HUB_OFFLINE: "1" })));
  expect(offline.code).toBe("HUB_OFFLINE");

  hub.fault = () => undefined;
  hub.requests.length = 0;
  const { folder } = await resolveModel(id, options());
  const rest = hub.requests.filter(({ path }) => path.startsWith("/cdn/"));
  expect(rest.map(({ range, sent }) => [range, sent])).toEqual([[`bytes=${kept}-`, weights.length - kept]]);
  expect(hub.bytesSent).toBe(weights.length - kept);
  expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
  expect(partials()).toEqual([]);
});

test("a connection that breaks again and again still ends, each time with the rest", async () => {
  hub.fault = ({ path }) => (path.startsWith("/cdn/") ? { cutAfter: 100_000 } : undefined);
  const notes: string[] = [];
  const { folder } = await resolveModel(id, options({ onNote: (text) => notes.push(text) }));
  expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
  expect(notes.length).toBeGreaterThan(2);
  expect(hub.bytesSent).toBe(wantedBytes);
});

test("a server that ignores Range sends the file from the start", async () => {
  hub.fault = ({ path }) => (path.startsWith("/cdn/") ? { cutAfter: 300_000 } : undefined);
  await rejection(resolveModel(id, options({ attempts: { count: 1, delay: 1 } })));
  hub.fault = () => ({ ignoreRange: true });
  const { folder } = await resolveModel(id, options());
  expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
});

test.each(["model.safetensors", "config.json"])(
  "a wrong checksum of %s is refused, and nothing is kept",
  async (name) => {
    const content = Uint8Array.from(files[name], (byte) => byte ^ 1);
    const isFile = (path: string) => path.endsWith(name) || path.endsWith(hub.etag(name));
    hub.fault = ({ path }) =>
      isFile(path) && !path.startsWith("/api") && (path.startsWith("/cdn") || name === "config.json")
        ? { content }
        : undefined;
    const error = await rejection(resolveModel(id, options()));
    expect(error.code).toBe("HUB_FAILED");
    expect(error.message).toMatch(`${name} came twice with a wrong checksum`);
    expect(error.message).toContain(hub.etag(name));
    expect(partials()).toEqual([]);
    expect(existsSync(join(repository(), "blobs", hub.etag(name)))).toBe(false);

    hub.fault = () => undefined;
    const { folder } = await resolveModel(id, options());
    expect(readFileSync(join(folder, name))).toEqual(Buffer.from(files[name]));
  },
);

test("an answer that is longer than listed is refused", async () => {
  hub.fault = ({ path }) =>
    path.startsWith("/cdn/") ? { content: new Uint8Array(weights.length + 1) } : undefined;
  expect((await rejection(resolveModel(id, options()))).code).toBe("HUB_FAILED");
});

test("gated, private, missing", async () => {
  hub.fault = ({ path }) =>
    path.includes("/resolve/") ? { status: 403, headers: { "x-error-code": "GatedRepo" } } : undefined;
  const gated = await rejection(resolveModel(id, options()));
  expect(gated.code).toBe("HUB_UNAUTHORIZED");
  expect(gated.message).toContain("gated");
  expect(gated.hint).toContain(`accept it at ${hub.endpoint}/${id}, then set HF_TOKEN`);

  hub.fault = () => ({ status: 401 });
  const secret = await rejection(resolveModel(id, options()));
  expect([secret.code, secret.message]).toEqual([
    "HUB_UNAUTHORIZED",
    expect.stringContaining("or is private"),
  ]);
  const refused = await rejection(resolveModel(id, options({}, { HF_TOKEN: "hf_wrong" })));
  expect(refused.message).toContain("refuses");

  hub.fault = () => undefined;
  const missing = await rejection(resolveModel("Qwen/Qwen2.5-1.5B-Instuct", options()));
  expect(missing.code).toBe("HUB_NOT_FOUND");
  expect(missing.message).toContain("did you mean Qwen/Qwen2.5-1.5B-Instruct?");
  const revision = await rejection(resolveModel(id, options({ revision: "v9" })));
  expect([revision.code, revision.message]).toEqual([
    "HUB_NOT_FOUND",
    expect.stringContaining('no revision "v9"'),
  ]);
  expect((await rejection(resolveModel(id, options({ revision: "../../x" })))).code).toBe("HUB_NOT_FOUND");
});

test("a file that is listed and not given, and storage that refuses, are no words about the model", async () => {
  hub.fault = ({ path }) =>
    path.includes("/resolve/") ? { status: 404, headers: { "x-error-code": "EntryNotFound" } } : undefined;
  const gone = await rejection(resolveModel(id, options()));
  expect([gone.code, gone.message]).toEqual(["HUB_FAILED", expect.stringContaining("404 for config.json")]);
  hub.fault = ({ path }) => (path.startsWith("/cdn/") ? { status: 401 } : undefined);
  const refused = await rejection(resolveModel(id, options()));
  expect([refused.code, refused.message]).toEqual([
    "HUB_FAILED",
    expect.stringContaining("http://localhost:"),
  ]);
  let failures = 0;
  hub.fault = ({ path }) => (path.startsWith("/cdn/") && failures++ < 2 ? { status: 403 } : undefined);
  await resolveModel(id, options());
  expect(failures).toBeGreaterThan(2);
});

test.each(["<html>log in first</html>", "{}", "[null]"])("an endpoint that is no Hub: %s", async (body) => {
  await using portal = createServer((_, response) => response.end(body)).listen(0, "127.0.0.1");
  await once(portal, "listening");
  const { port } = portal.address() as AddressInfo;
  const endpoint = { HF_ENDPOINT: `http://127.0.0.1:${port}` };
  const error = await rejection(resolveModel(id, options({}, endpoint)));
  expect([error.code, error.hint]).toEqual(["HUB_FAILED", expect.stringContaining("HF_ENDPOINT")]);
});

test("an endpoint that is no address", async () => {
  const error = await rejection(resolveModel(id, options({}, { HF_ENDPOINT: "huggingface.co" })));
  expect([error.code, error.message]).toEqual(["HUB_FAILED", expect.stringContaining("no address")]);
});

test("the token goes to the Hub and not to where it redirects", async () => {
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "token"), "hf_from_file\n");
  await resolveModel(id, options());
  const atHub = hub.requests.filter(({ path }) => !path.startsWith("/cdn/"));
  expect(new Set(atHub.map(({ authorization }) => authorization))).toEqual(new Set(["Bearer hf_from_file"]));
  const elsewhere = hub.requests.filter(({ path }) => path.startsWith("/cdn/"));
  expect(elsewhere.length).toBeGreaterThan(0);
  expect(elsewhere.every(({ authorization }) => authorization === undefined)).toBe(true);
});

describe("another server that the Hub names", () => {
  const seen: (string | undefined)[] = [];
  const other = createServer((request, response) => {
    seen.push(request.headers.authorization);
    const isRefused = request.url === "/refused";
    response.writeHead(isRefused ? 401 : 200, { "content-type": "application/json" }).end("[]");
  });
  let address: string;
  beforeAll(async () => {
    await once(other.listen(0, "127.0.0.1"), "listening");
    address = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
  });
  beforeEach(() => {
    seen.length = 0;
  });
  afterAll(() => other.close());
  const withToken = () => options({}, { HF_TOKEN: "hf_secret" });

  test("gets no token where the file list goes on there", async () => {
    hub.nextPage = `${address}/page2`;
    await resolveModel(id, withToken());
    expect(seen).toEqual([undefined]);
    expect(hub.requests.some(({ authorization }) => authorization === "Bearer hf_secret")).toBe(true);
  });

  test("gets no token by redirects of the Hub's API and files, and is no word about the model", async () => {
    for (const prefix of ["/api/models/", `/${id}/resolve/`]) {
      seen.length = 0;
      hub.fault = ({ path }) =>
        path.startsWith(prefix) ? { status: 307, headers: { location: `${address}/refused` } } : undefined;
      const error = await rejection(resolveModel(id, withToken()));
      expect([error.code, error.message]).toEqual([
        "HUB_FAILED",
        expect.stringContaining(`${address} answered 401`),
      ]);
      expect(seen).toEqual([undefined]);
    }
  });
});

test("an endpoint with a password is refused without showing it", async () => {
  const error = await rejection(
    resolveModel(id, options({}, { HF_ENDPOINT: "http://me:secret@127.0.0.1:1" })),
  );
  expect([error.code, error.message]).toEqual(["HUB_FAILED", expect.stringContaining("HF_ENDPOINT holds")]);
  expect(error.message + error.hint).not.toContain("secret");
});

test("a token that cannot be one is not sent and not shown", async () => {
  const error = await rejection(resolveModel(id, options({}, { HF_TOKEN: "hf_secret\nhf_other" })));
  expect(error.code).toBe("HUB_UNAUTHORIZED");
  expect(error.message + error.hint).not.toContain("secret");
  expect(hub.requests).toEqual([]);
});

test("server errors pass; those that stay end with what to do", async () => {
  let failures = 0;
  hub.fault = () => (failures++ < 2 ? { status: 500 } : undefined);
  await resolveModel(id, options());
  expect(failures).toBeGreaterThan(2);
  rmSync(home, { recursive: true });
  hub.fault = () => ({ status: 503, headers: { "retry-after": "0" } });
  hub.requests.length = 0;
  const error = await rejection(resolveModel(id, options()));
  expect(error.code).toBe("HUB_FAILED");
  expect(error.message).toContain("4 attempts");
  expect(hub.requests).toHaveLength(4);
});

test("too little space is told before the download; a disk that fills up keeps what is there", async () => {
  hub.listedSizes.set("model.safetensors", 1e17);
  const early = await rejection(resolveModel(id, options()));
  expect(early.code).toBe("DISK_FULL");
  expect(early.message).toMatch(/needs 1\.00e\+8 GB more, but only .* GB are free/);
  expect(hub.bytesSent).toBe(0);
  hub.listedSizes.clear();
  mkdirSync(join(repository(), "blobs"), { recursive: true });
  symlinkSync("/dev/full", join(repository(), "blobs", `${hub.etag("model.safetensors")}.spa.incomplete`));
  const late = await rejection(resolveModel(id, options()));
  expect([late.code, late.hint]).toEqual(["DISK_FULL", expect.stringContaining("HF_HOME")]);
});

const canMount = () => {
  const folder = mkdtempSync(join(tmpdir(), "spa-mount-"));
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "none", folder]).status === 0;
  if (mounted) spawnSync("umount", [folder]);
  rmSync(folder, { recursive: true });
  return mounted;
};

test.runIf(canMount())("a small disk is refused, and with more room the download goes on", async () => {
  mkdirSync(join(home, "hub"), { recursive: true });
  const mount = (...args: string[]) =>
    expect(spawnSync("mount", [...args, join(home, "hub")]).status).toBe(0);
  mount("-t", "tmpfs", "-o", "size=256k", "none");
  try {
    expect((await rejection(resolveModel(id, options()))).code).toBe("DISK_FULL");
    mount("-o", "remount,size=4m,nr_inodes=12");
    expect((await rejection(resolveModel(id, options()))).code).toBe("DISK_FULL");
    mount("-o", "remount,nr_inodes=100");
    await resolveModel(id, options());
  } finally {
    spawnSync("umount", [join(home, "hub")]);
  }
});

test("a cache that cannot be written is named", async () => {
  writeFileSync(join(home, "hub"), "a file where a folder should be");
  const error = await rejection(resolveModel(id, options()));
  expect([error.code, error.message]).toEqual(["HUB_FAILED", expect.stringContaining("cannot be written")]);
  expect(error.hint).toContain("HF_HOME");
});

test("offline uses what is whole in the cache, and says what is missing", async () => {
  const offline = options({}, { HF_HUB_OFFLINE: "1" });
  const error = await rejection(resolveModel(id, offline));
  expect(error.code).toBe("HUB_OFFLINE");
  expect(error.hint).toContain(`spa download ${id}`);
  const { folder } = await resolveModel(id, options());
  hub.requests.length = 0;
  expect(await resolveModel(id, offline)).toEqual({ folder, commit: hub.commit });
  expect(hub.requests).toEqual([]);
  rmSync(join(folder, "model.safetensors"));
  expect((await rejection(resolveModel(id, offline))).message).toContain("lacks model.safetensors");
  expect((await resolveModel(id, { ...offline, weights: false })).folder).toBe(folder);
});

test("a Hub that cannot be reached: the cache serves, or the error says so", async () => {
  const { folder } = await resolveModel(id, options());
  const gone = options({}, { HF_ENDPOINT: "http://127.0.0.1:9" });
  const notes: string[] = [];
  expect((await resolveModel(id, { ...gone, onNote: (text) => notes.push(text) })).folder).toBe(folder);
  expect(notes.join()).toContain("from the cache");
  const error = await rejection(resolveModel("spa/other", { ...gone, attempts: { count: 2, delay: 1 } }));
  expect([error.code, error.message]).toEqual(["HUB_OFFLINE", expect.stringContaining("cannot be reached")]);
});

test("two at once download each file once", async () => {
  const notes: string[] = [];
  const both = [1, 2].map(() => resolveModel(id, options({ onNote: (text) => notes.push(text) })));
  const [first, second] = await Promise.all(both);
  expect(first).toEqual(second);
  expect(hub.bytesSent).toBe(wantedBytes);
  expect(notes.join()).toContain(`waiting for process ${process.pid}`);
});

test("whoever downloads holds the lock until the last byte of the weights", async () => {
  const { lockFolder } = new CachedRepository(join(home, "hub"), id);
  const free: string[] = [];
  const onProgress = ({ file }: DownloadProgress) => {
    if (lockHolder(lockFolder) === undefined) free.push(file);
  };
  await resolveModel(id, options({ onProgress }));
  expect(free).toEqual([]);
  expect(lockHolder(lockFolder)).toBeUndefined();
});

test("an abort keeps what was fetched", async () => {
  const controller = new AbortController();
  const stop = ({ file, bytes }: DownloadProgress) => {
    if (file === "model.safetensors" && bytes > 0) controller.abort();
  };
  const error = await rejection(resolveModel(id, options({ signal: controller.signal, onProgress: stop })));
  expect(error.code).toBe("ABORTED");
  const { folder } = await resolveModel(id, options());
  expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
});

test("without weights: configuration and tokenizer only", async () => {
  const { folder } = await resolveModel(id, options({ weights: false }));
  expect(readdirSync(folder)).not.toContain("model.safetensors");
  expect(hub.bytesSent).toBe(wantedBytes - weights.length);
  await resolveModel(id, options());
  expect(hub.bytesSent).toBe(wantedBytes);
});

test("shards are those that the index names; a repository of pickles is refused", async () => {
  const shard = (k: number) => `model-0000${k}-of-00002.safetensors`;
  hub.files.delete("model.safetensors");
  const pickles = await rejection(resolveModel(id, options()));
  expect([pickles.code, pickles.hint]).toEqual(["UNSUPPORTED", expect.stringContaining("pickles")]);
  hub.files.delete("tokenizer.json");
  expect((await rejection(resolveModel(id, options()))).message).toContain("has no tokenizer.json");
  hub.files.set("tokenizer.json", tokenizer);
  hub.files.set(shard(1), Buffer.alloc(1000, 1));
  hub.files.set(shard(2), Buffer.alloc(2000, 2));
  hub.files.set("other.safetensors", Buffer.alloc(500, 3));
  const index = { weight_map: { a: shard(1), b: shard(2), c: shard(2) } };
  hub.files.set("model.safetensors.index.json", Buffer.from(JSON.stringify(index)));
  const { folder } = await resolveModel(id, options());
  expect(readdirSync(folder).filter((name) => name.endsWith(".safetensors"))).toEqual([shard(1), shard(2)]);
  hub.refs.set("bad", "4".repeat(40));
  hub.files.set("model.safetensors.index.json", Buffer.from('{"weight_map":{"a":"../../x.safetensors"}}'));
  expect((await rejection(resolveModel(id, options({ revision: "bad" })))).code).toBe("BAD_CHECKPOINT");
});

test("weights that are there twice are refused before they are fetched; an index of the single file is none", async () => {
  const index = "model.safetensors.index.json";
  const map = (file: string) => Buffer.from(JSON.stringify({ weight_map: { "model.norm.weight": file } }));
  const shard = "model-00001-of-00001.safetensors";
  hub.files.set(index, map(shard));
  hub.files.set(shard, weights);
  const error = await rejection(resolveModel(id, options()));
  expect([error.code, error.message]).toEqual([
    "BAD_CHECKPOINT",
    expect.stringMatching(/spa\/tiny-qwen2 holds weights twice: model\.safetensors, and model-00001/),
  ]);
  const fetched = (name: string) => hub.requests.some(({ path }) => path.includes(hub.etag(name)));
  expect(fetched("model.safetensors")).toBe(false);
  hub.files.set(index, map("model.safetensors"));
  hub.refs.set("main", "7".repeat(40));
  const { folder } = await resolveModel(id, options());
  expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
  expect(existsSync(join(folder, shard))).toBe(false);
});

test("a proxy is used, but not for what NO_PROXY names", async () => {
  const tunnels: string[] = [];
  const proxy = createServer().on("connect", (request, client) => {
    tunnels.push(request.url!);
    const [host, port] = request.url!.split(":");
    const upstream = connect(Number(port), host, () => {
      client.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      upstream.pipe(client).pipe(upstream);
    });
    upstream.on("error", () => client.destroy());
    client.on("error", () => upstream.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  try {
    const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    for (const name of ["http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY"]) vi.stubEnv(name, "");
    vi.stubEnv("HTTP_PROXY", address);
    vi.stubEnv("http_proxy", address);
    vi.stubEnv("NO_PROXY", "localhost");
    vi.stubEnv("no_proxy", "localhost");
    await resolveModel(id, options());
    expect(tunnels.length).toBeGreaterThan(0);
    expect(new Set(tunnels)).toEqual(new Set([`127.0.0.1:${hub.port}`]));
  } finally {
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  }
});

test("a folder is taken as it is, and named when it is not there", async () => {
  expect(await resolveModel(fixture("qwen2_tiny"))).toEqual({ folder: fixture("qwen2_tiny"), commit: null });
  const error = await rejection(resolveModel("./no/such/folder"));
  expect([error.code, error.message]).toEqual(["BAD_CHECKPOINT", expect.stringContaining("/no/such/folder")]);
});

test("a user without a home folder needs HF_HUB_CACHE or HF_HOME, and only for a Hub id", async () => {
  vi.stubEnv("HOME", "");
  try {
    const settings = hubSettings({ HF_HUB_CACHE: "/x" });
    expect([settings.cacheFolder, settings.token]).toEqual(["/x", undefined]);
    expect(hubSettings({ HF_HOME: "/x" }).cacheFolder).toBe("/x/hub");
    expect(hubSettings({ HF_HOME: "~/x" }).cacheFolder).toBe("~/x/hub");
    const homeless = { settings: hubSettings({}) };
    expect((await resolveModel(fixture("qwen2_tiny"), homeless)).commit).toBe(null);
    const error = await rejection(resolveModel("org/model", homeless));
    expect([error.code, error.hint]).toEqual(["BAD_CONFIG", expect.stringContaining("HF_HOME")]);
  } finally {
    vi.unstubAllEnvs();
  }
});

test("settings follow huggingface_hub's variables", () => {
  const of = (variables: Record<string, string>) => hubSettings({ HF_HOME: home, ...variables });
  expect(of({}).cacheFolder).toBe(join(home, "hub"));
  expect(of({ HF_HUB_CACHE: "/elsewhere" }).cacheFolder).toBe("/elsewhere");
  expect(hubSettings({ XDG_CACHE_HOME: "/x" }).cacheFolder).toBe("/x/huggingface/hub");
  expect(of({}).endpoint).toBe("https://huggingface.co");
  expect(of({ HF_TOKEN: " hf_a " }).token).toBe("hf_a");
  expect(["1", "true", "ON", "yes"].map((value) => of({ HF_HUB_OFFLINE: value }).offline)).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect(["0", "", "no"].map((value) => of({ HF_HUB_OFFLINE: value }).offline)).toEqual([
    false,
    false,
    false,
  ]);
});
