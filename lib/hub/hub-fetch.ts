import { setTimeout as sleep } from "node:timers/promises";
import { EnvHttpProxyAgent, fetch, type RequestInit, Response } from "undici";
import { SpaError, throwIfAborted } from "../errors.ts";
import { type HubRequest, PassingFailure, statusError } from "./hub-error.ts";
import type { HubSettings } from "./settings.ts";

/** How often a request that fails in passing is made, and the milliseconds before the second time; each wait doubles. */
export interface Attempts {
  count: number;
  delay: number;
}

export const defaultAttempts: Attempts = { count: 6, delay: 1000 };

/** Milliseconds without a connection, an answer or a byte after which a request has failed. */
const patience = { connect: 15_000, answer: 30_000, bytes: 30_000 };

/**
 * Requests to the Hub about one model: with the token, through the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY
 * name (which Node's own fetch does not look at), and with failures put into the package's errors.
 */
export class HubClient implements AsyncDisposable {
  readonly settings: HubSettings;
  readonly #agent: EnvHttpProxyAgent;
  readonly #request: HubRequest;
  readonly #signal: AbortSignal | undefined;

  /** @throws SpaError HUB_FAILED when the endpoint is no address, HUB_UNAUTHORIZED when the token cannot be one */
  constructor(settings: HubSettings, about: { id: string; revision: string }, signal?: AbortSignal) {
    if (!URL.canParse(settings.endpoint) || !/^https?:$/.test(new URL(settings.endpoint).protocol)) {
      throw new SpaError("HUB_FAILED", `HF_ENDPOINT "${settings.endpoint}" is no address`, {
        hint: "give one like https://huggingface.co, or unset HF_ENDPOINT",
      });
    }
    const { username, password } = new URL(settings.endpoint);
    if (username !== "" || password !== "") {
      throw new SpaError("HUB_FAILED", "HF_ENDPOINT holds a user name or a password", {
        hint: "give the address alone, and access by HF_TOKEN",
      });
    }
    // Not sent and not shown: the error about a header would hold it.
    if (settings.token !== undefined && !/^[\x21-\x7e]+$/.test(settings.token)) {
      throw new SpaError("HUB_UNAUTHORIZED", "the access token holds characters that no token has", {
        hint: "look at HF_TOKEN, or at the file that HF_TOKEN_PATH names: it must be the token alone, on one line",
      });
    }
    this.settings = settings;
    this.#request = { ...about, endpoint: settings.endpoint, hasToken: settings.token !== undefined };
    this.#signal = signal;
    this.#agent = new EnvHttpProxyAgent({
      connect: { timeout: patience.connect },
      headersTimeout: patience.answer,
      bodyTimeout: patience.bytes,
    });
  }

  /**
   * One request, redirects followed. The token goes to the endpoint's own origin alone, whoever names another address: a
   * redirect, or the Hub's answer to an earlier request.
   *
   * @throws SpaError HUB_NOT_FOUND, HUB_UNAUTHORIZED, HUB_FAILED, ABORTED; PassingFailure when it may succeed later
   */
  async fetch(url: string | URL, init: RequestInit = {}): Promise<Response> {
    throwIfAborted(this.#signal);
    const headers = new Map(Object.entries((init.headers ?? {}) as Record<string, string>));
    const { token, endpoint } = this.settings;
    const isOwn = new URL(url).origin === new URL(endpoint).origin;
    if (token !== undefined && isOwn) headers.set("authorization", `Bearer ${token}`);
    let response: Response;
    try {
      response = await fetch(url, {
        ...init,
        headers: Object.fromEntries(headers),
        dispatcher: this.#agent,
        ...(this.#signal && { signal: this.#signal }),
      });
    } catch (error) {
      throw this.failure(error);
    }
    if (response.ok || response.status === 416) return response;
    await response.body?.cancel();
    const { origin } = new URL(response.url);
    const file = /\/resolve\/[^/]+\/(.+)/.exec(new URL(url).pathname)?.[1];
    throw statusError(this.#request, { status: response.status, origin, file, headers: response.headers });
  }

  /**
   * What a function of @huggingface/hub answers when it uses the `fetch` that it is given.
   *
   * @throws SpaError as {@link fetch}, and HUB_FAILED for an answer that the Hub would not give; PassingFailure
   */
  async ask<T>(question: (fetch: typeof globalThis.fetch) => Promise<T>): Promise<T> {
    const whole = async (url: string | URL, init?: RequestInit) => {
      const response = await this.fetch(url, init);
      // Here a connection that breaks can be told from an answer that is not understood.
      const body = await response.bytes().catch((error: unknown) => {
        throw this.failure(error);
      });
      const link = response.headers.get("link");
      return new Response(body, { status: response.status, ...(link !== null && { headers: { link } }) });
    };
    try {
      return await question(whole as unknown as typeof globalThis.fetch);
    } catch (error) {
      if (error instanceof SpaError || error instanceof PassingFailure) throw error;
      throw new SpaError(
        "HUB_FAILED",
        `${this.settings.endpoint} does not answer as the Hugging Face Hub does`,
        {
          hint: "check HF_ENDPOINT, and whether a proxy or a log-in page of the network stands between",
          cause: error,
        },
      );
    }
  }

  /** What an error of a connection means. */
  failure(error: unknown): Error {
    if (this.#signal?.aborted) {
      return new SpaError("ABORTED", `the download of ${this.#request.id} was stopped`, {
        hint: "the next attempt goes on where this one stopped",
        cause: this.#signal.reason,
      });
    }
    return new PassingFailure(`${this.settings.endpoint}: ${innermost(error)}`, { cause: error });
  }

  /** Makes `attempt` again after passing failures, as long as it may; progress made starts the count afresh. */
  async persist<T>(
    attempts: Attempts,
    attempt: (madeProgress: () => void) => Promise<T>,
    onRetry?: (reason: string, seconds: number) => void,
  ): Promise<T> {
    let failed = 0;
    for (;;) {
      try {
        return await attempt(() => {
          failed = 0;
        });
      } catch (error) {
        if (!(error instanceof PassingFailure)) throw error;
        failed++;
        if (failed >= attempts.count) throw this.#gaveUp(error, attempts.count);
        const wait = Math.max((error.wait ?? 0) * 1000, attempts.delay * 2 ** (failed - 1));
        onRetry?.(error.message, wait / 1000);
        await sleep(wait, undefined, this.#signal && { signal: this.#signal }).catch(() => {
          throw this.failure(error);
        });
      }
    }
  }

  #gaveUp(error: PassingFailure, count: number): SpaError {
    const times = count === 1 ? "" : ` (${count} attempts)`;
    return new SpaError("HUB_FAILED", `${this.#request.id} could not be fetched${times}: ${error.message}`, {
      hint: "check the network, HTTPS_PROXY and HF_ENDPOINT, then start again: what is there already is not fetched twice",
      cause: error,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }
}

/** fetch wraps what happened in "fetch failed"; the cause says it. */
function innermost(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  if (!(inner instanceof Error)) return String(inner);
  return inner.message || ((inner as NodeJS.ErrnoException).code ?? inner.name);
}
