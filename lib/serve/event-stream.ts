import type { ServerResponse } from "node:http";

/** Milliseconds in which a client must take what it has been sent. */
const STALLED = 30_000;

/** A response of server-sent events. It tells when the client takes more, so that what comes meanwhile can be put together. */
export class EventStream {
  readonly #response: ServerResponse;
  #stalled: NodeJS.Timeout | undefined;

  /** @param onDrain called when the client takes events again */
  constructor(response: ServerResponse, onDrain: () => void) {
    this.#response = response;
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
    });
    response.on("drain", () => {
      clearTimeout(this.#stalled);
      this.#stalled = undefined;
      onDrain();
    });
    response.on("close", () => clearTimeout(this.#stalled));
  }

  /** The client has not taken yet what was sent. */
  get isBlocked(): boolean {
    return this.#stalled !== undefined;
  }

  /** Sends an event; a client that takes none for long is cut off. */
  send(event: unknown): void {
    const text = typeof event === "string" ? event : JSON.stringify(event);
    if (this.#response.destroyed || this.#response.write(`data: ${text}\n\n`)) return;
    this.#stalled ??= setTimeout(() => this.#response.destroy(), STALLED);
  }

  end(): void {
    this.send("[DONE]");
    this.#response.end();
  }
}
