import { setTimeout as sleep } from "node:timers/promises";
import { EnvHttpProxyAgent, fetch, type RequestInit, type Response } from "undici";
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

  constructor(settings: HubSettings, about: { id: string; revision: string }, signal?: AbortSignal) {
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
   * One request, redirects followed (the token is not sent on to other hosts).
   *
   * @throws SpaError HUB_NOT_FOUND, HUB_UNAUTHORIZED, HUB_FAILED, ABORTED; PassingFailure when it may succeed later
   */
  async fetch(url: string | URL, init: RequestInit = {}): Promise<Response> {
    throwIfAborted(this.#signal);
    const headers = new Map(Object.entries((init.headers ?? {}) as Record<string, string>));
    if (this.settings.token !== undefined) headers.set("authorization", `Bearer ${this.settings.token}`);
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
    const { status, headers: answer } = response;
    throw statusError(this.#request, status, answer.get("x-error-code"), answer.get("retry-after"));
  }

  /** `fetch` for functions of @huggingface/hub. */
  get webFetch(): typeof globalThis.fetch {
    const own = (url: string | URL, init?: RequestInit) => this.fetch(url, init);
    return own as unknown as typeof globalThis.fetch;
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
