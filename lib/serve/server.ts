import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { badArgument, checkInteger } from "../addon/arguments.ts";
import { SpaError } from "../errors.ts";
import { didYouMean } from "../nearest-name.ts";
import { complete } from "./completion.ts";
import type { Choice } from "./generation.ts";
import { answer, checkHost, checkKey, isLoopback, readJson } from "./http.ts";
import { HttpError, httpErrorOf } from "./http-error.ts";
import { ServerMetrics } from "./metrics.ts";
import {
  type GenerationRequest,
  type RewardRequest,
  readChat,
  readCompletion,
  readReward,
} from "./request.ts";
import type { ServedModel } from "./served-model.ts";
import type { SessionRecorder } from "./sessions.ts";

export interface ServerOptions {
  /** The first is what requests get that name no model. */
  models: readonly ServedModel[];
  /** 127.0.0.1 by default; any other address needs a key. */
  host?: string;
  /** 0 takes any that is free. */
  port: number;
  /** What clients must send as `authorization: Bearer <key>`. */
  apiKey?: string;
  /** Choices that may wait for a slot, of each model; 256 by default. */
  maxWaiting?: number;
  /** Seconds that an answer may take; 600 by default. */
  timeout?: number;
  /** Records the calls that name a session (`session_id`, or the header `x-session-id`), for training. */
  sessions?: SessionRecorder;
}

const MOST_WAITING = 256;
/** Seconds. */
const LONGEST_ANSWER = 600;

/** Milliseconds in which a client must have sent its headers, and its whole request. */
const HEADERS_TIMEOUT = 10_000;
const REQUEST_TIMEOUT = 60_000;
const MOST_CONNECTIONS = 1024;
const HEADER_BYTES = 16 * 2 ** 10;

/**
 * Serves policies over OpenAI's HTTP API: `/v1/models`, `/v1/chat/completions`, `/v1/completions`, `/v1/rewards`,
 * `/health`, `/metrics`.
 *
 * Nothing that a client sends or does ends the server or disturbs another one.
 */
export class PolicyServer implements AsyncDisposable {
  readonly url: string;
  readonly #server: Server;
  readonly #models: ReadonlyMap<string, ServedModel>;
  readonly #options: ServerOptions;
  readonly #metrics: ServerMetrics;
  readonly #checksHost: boolean;
  readonly #handling = new Set<Promise<void>>();
  #completions = 0;

  private constructor(server: Server, options: ServerOptions) {
    this.#server = server;
    this.#options = options;
    this.#models = new Map(options.models.map((served) => [served.name, served]));
    this.#metrics = new ServerMetrics(() => this.#models.values());
    const { address, port, family } = server.address() as AddressInfo;
    this.#checksHost = isLoopback(address);
    this.url = `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
    server.on("request", (request, response) => {
      const handled = this.#handle(request, response).finally(() => this.#handling.delete(handled));
      this.#handling.add(handled);
    });
  }

  /** @throws SpaError BAD_ARGUMENT (an open address without a key), or one that cannot be had */
  static async start(options: ServerOptions): Promise<PolicyServer> {
    const { host = "127.0.0.1", apiKey, models } = options;
    const port = checkInteger(options.port, "port", 0, 65535);
    if (models.length === 0) throw badArgument("there is no model to serve");
    if (!isLoopback(host) && apiKey === undefined) {
      throw badArgument(
        `${host} can be reached from other machines, and there is no API key`,
        "set one: --api-key",
      );
    }
    const server = createServer({
      ...{ headersTimeout: HEADERS_TIMEOUT, requestTimeout: REQUEST_TIMEOUT, maxHeaderSize: HEADER_BYTES },
      keepAlive: true,
    });
    server.maxConnections = MOST_CONNECTIONS;
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => reject(cannotListen(error, host, port)));
      server.listen(port, host, resolve);
    });
    return new PolicyServer(server, options);
  }

  /** Ends it: no new connections; answers under way have `grace` seconds. The models are the caller's to end. */
  async close(grace = 10): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeIdleConnections();
    const late = setTimeout(() => this.#server.closeAllConnections(), 1000 * grace);
    await Promise.all(this.#handling);
    this.#server.closeIdleConnections();
    await closed;
    clearTimeout(late);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Answers a request; never rejects. */
  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "/").split("?")[0];
    const route = routes.find(({ pattern }) => pattern.test(path));
    const name = route?.name ?? "other";
    const stopTimer = this.#metrics.duration.startTimer({ route: name });
    let status = 200;
    try {
      if (this.#checksHost) checkHost(request);
      if (name !== "/health") checkKey(request, this.#options.apiKey);
      await this.#routed(route, path, request, response);
    } catch (thrown) {
      const error = httpErrorOf(thrown);
      status = error.status;
      answer(response, error.status, error.body, error.headers);
    } finally {
      stopTimer();
      this.#metrics.answers.inc({ route: name, status: String(status) });
    }
  }

  async #routed(
    route: Route | undefined,
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    if (route === undefined) {
      const known = routes.map(({ name }) => name);
      throw new HttpError(
        404,
        `there is no ${path}${didYouMean(path, known)}; there are ${known.join(", ")}`,
      );
    }
    if (request.method !== route.method) {
      throw new HttpError(405, `${route.name} takes ${route.method}`, { headers: { allow: route.method } });
    }
    switch (route.name) {
      case "/health":
        return answer(response, 200, { status: "ok" });
      case "/metrics": {
        const { registry } = this.#metrics;
        return answer(response, 200, await registry.metrics(), { "content-type": registry.contentType });
      }
      case "/v1/models":
        return answer(response, 200, { object: "list", data: [...this.#models.values()].map(describe) });
      case "/v1/models/{model}":
        return answer(response, 200, describe(this.#modelOf(nameIn(path))));
      case "/v1/chat/completions":
        return await this.#complete(readChat(await readJson(request)), request, response);
      case "/v1/completions":
        return await this.#complete(readCompletion(await readJson(request)), request, response);
      case "/v1/rewards":
        return answer(response, 200, this.#reward(readReward(await readJson(request))));
    }
  }

  async #complete(
    request: GenerationRequest,
    { headers }: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { maxWaiting = MOST_WAITING, timeout = LONGEST_ANSWER } = this.#options;
    const served = this.#modelOf(request.model);
    const session = request.session ?? headers["x-session-id"]?.toString();
    const onDone = session === undefined ? undefined : this.#recorder(session, served, request);
    const onFirstText = this.#metrics.firstText.startTimer();
    const options = { number: this.#completions++, maxWaiting, timeout, onFirstText };
    await complete(served, request, response, { ...options, ...(onDone && { onDone }) });
  }

  /** What notes a session's call once it has ended. @throws HttpError 400, 409 where it cannot be recorded */
  #recorder(session: string, served: ServedModel, request: GenerationRequest) {
    const { sessions } = this.#options;
    if (sessions === undefined) throw notRecorded();
    const { temperature, n, prompts } = request;
    if (n * prompts.length > 1) {
      throw new HttpError(400, "a session's call has one choice: its reward is that of what was done", {
        param: "n",
      });
    }
    if (temperature === 0) {
      throw new HttpError(400, "at temperature 0 a session has nothing to learn from", {
        param: "temperature",
      });
    }
    sessions.check(session, temperature);
    const { name: model, fingerprint: checkpoint } = served;
    return ([choice]: readonly Choice[]) => {
      const call = { model, checkpoint, temperature, prompt: choice.prompt, reply: choice.reply(served) };
      sessions.record(session, call);
    };
  }

  #reward({ session, reward, group }: RewardRequest) {
    const { sessions } = this.#options;
    if (sessions === undefined) throw notRecorded();
    const { turns, logProbs } = sessions.reward(session, reward, group);
    return { session_id: session, reward, calls: turns.length, tokens: logProbs.length };
  }

  /** @throws HttpError 404 */
  #modelOf(name: string | undefined): ServedModel {
    const served = name === undefined ? this.#options.models[0] : this.#models.get(name);
    if (served !== undefined) return served;
    const known = [...this.#models.keys()];
    const message = `there is no model "${name}"${didYouMean(name!, known)}; served: ${known.join(", ")}`;
    throw new HttpError(404, message, { param: "model", code: "model_not_found" });
  }
}

/** The model's name in `/v1/models/{model}`. */
function nameIn(path: string): string {
  const name = path.slice("/v1/models/".length);
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function notRecorded(): HttpError {
  return new HttpError(400, "this server records no sessions (spa serve --record <file>)", {
    param: "session_id",
    code: "not_recording",
  });
}

const describe = ({ description }: ServedModel) => description;

/** What the server answers to. */
const routes = [
  { name: "/health", method: "GET", pattern: /^\/health$/ },
  { name: "/metrics", method: "GET", pattern: /^\/metrics$/ },
  { name: "/v1/models", method: "GET", pattern: /^\/v1\/models$/ },
  { name: "/v1/models/{model}", method: "GET", pattern: /^\/v1\/models\/.+$/ },
  { name: "/v1/chat/completions", method: "POST", pattern: /^\/v1\/chat\/completions$/ },
  { name: "/v1/completions", method: "POST", pattern: /^\/v1\/completions$/ },
  { name: "/v1/rewards", method: "POST", pattern: /^\/v1\/rewards$/ },
] as const;

type Route = (typeof routes)[number];

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number): SpaError {
  const why: Record<string, string> = {
    EADDRINUSE: "the port is taken",
    EACCES: "that port needs other rights",
    EADDRNOTAVAIL: "this machine has no such address",
  };
  const message = `cannot listen on ${host}:${port}: ${why[error.code ?? ""] ?? error.message}`;
  return new SpaError("BAD_ARGUMENT", message, { hint: "choose another: --port, --host", cause: error });
}
