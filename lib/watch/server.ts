import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { SpaError } from "../errors.ts";
import { fileError } from "../files/file-error.ts";
import { Html } from "../report/html.ts";
import { type Access, refusal, securityHeaders } from "./guard.ts";
import { pageAsset } from "./page.ts";
import { routes } from "./routes.ts";
import { summarize, type WatchedRuns } from "./watched-runs.ts";

export interface WatchOptions {
  /** By default 127.0.0.1; another needs a password. */
  host?: string;
  /** 0 (the default) takes one that is free. */
  port?: number;
  password?: string | undefined;
}

/** Milliseconds between two looks at the run folders. */
const interval = 1000;

/** The page that follows runs, and how to end it. */
export interface WatchServer {
  /** With the token that lets in. */
  address: string;
  close(): Promise<void>;
}

/**
 * Serves the page.
 *
 * @throws SpaError `BAD_ARGUMENT` where others could reach it and there is no password, `FILE_FAILED` where the port is taken
 */
export async function watchRuns(runs: WatchedRuns, options: WatchOptions = {}): Promise<WatchServer> {
  const { host = "127.0.0.1", port = 0, password } = options;
  const isLocal = host === "127.0.0.1" || host === "localhost" || host === "::1";
  if (!isLocal && !password)
    throw new SpaError("BAD_ARGUMENT", `--host ${host} lets other machines in, which takes a password`, {
      hint: "set SPA_WATCH_PASSWORD; or leave --host out, and reach the page by ssh -L",
    });
  const access: Access = { token: randomBytes(18).toString("base64url"), host, port, password };
  const listeners = new Set<ServerResponse>();
  const server = createServer({ requestTimeout: 10_000 }, (request, response) =>
    answer(request, response, { access, runs, listeners }),
  );
  access.port = await listen(server, host, port);
  let known = "";
  const timer = setInterval(() => {
    known = tell(listeners, runs, known);
  }, interval);
  const name = host.includes(":") ? `[${host}]` : host;
  return {
    address: `http://${name}:${access.port}/${access.token}/`,
    close: async () => {
      clearInterval(timer);
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(fileError(error, `${host}:${port}`)));
    server.listen(port, host, resolve);
  });
  return (server.address() as AddressInfo).port;
}

interface Serving {
  access: Access;
  runs: WatchedRuns;
  listeners: Set<ServerResponse>;
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { access, runs, listeners }: Serving,
): void {
  const send = (status: number, type = "text/plain", content = "", more = {}) => {
    response.writeHead(status, { ...securityHeaders, "content-type": type, ...more }).end(content);
  };
  const status = refusal(request, access);
  if (status !== undefined) {
    send(status, "text/plain", "", status === 401 ? { "www-authenticate": 'Basic realm="spa watch"' } : {});
    return;
  }
  const { pathname, searchParams } = new URL(request.url!, "http://localhost");
  const path = pathname.slice(access.token.length + 2);
  const asset = request.method === "GET" ? pageAsset(path) : undefined;
  const name = `${request.method} ${path}`;
  if (asset) send(200, asset.type, asset.content);
  else if (name === "GET events") follow(response, runs, listeners);
  else if (!Object.hasOwn(routes, name)) send(404);
  else {
    try {
      const content = routes[name](searchParams, runs);
      if (content instanceof Html) send(200, "text/html; charset=utf-8", content.text);
      else send(200, "application/json", JSON.stringify(content));
    } catch (error) {
      const known = fileError(error);
      if (!(known instanceof SpaError)) throw error;
      send(400, "application/json", JSON.stringify({ error: known.message }));
    }
  }
}

/** Server-sent events: the list of runs, when the page begins to listen and whenever it changes. */
function follow(response: ServerResponse, runs: WatchedRuns, listeners: Set<ServerResponse>): void {
  response.writeHead(200, { ...securityHeaders, "content-type": "text/event-stream" });
  listeners.add(response);
  response.on("close", () => listeners.delete(response));
  response.write(event(listOf(runs)));
}

/** Tells the listeners of what has changed since they were told last. @returns what they know now */
function tell(listeners: ReadonlySet<ServerResponse>, runs: WatchedRuns, known: string): string {
  if (listeners.size === 0) return known;
  const list = listOf(runs);
  if (list !== known) for (const listener of listeners) listener.write(event(list));
  return list;
}

function event(data: string): string {
  return `data: ${data}\n\n`;
}

function listOf(runs: WatchedRuns): string {
  return JSON.stringify(runs.all().map(summarize));
}
