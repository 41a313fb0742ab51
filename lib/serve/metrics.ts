import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { ServedModel } from "./served-model.ts";

/** Seconds at the edges of histograms. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** What a server tells Prometheus. */
export class ServerMetrics {
  readonly registry = new Registry();
  /** Answers by route and status. */
  readonly answers: Counter<"route" | "status">;
  /** Seconds from a request to its answer's end, by route. */
  readonly duration: Histogram<"route">;
  /** Seconds from a request for text to its first. */
  readonly firstText: Histogram;

  /** @param models those that are served at the time of asking */
  constructor(models: () => Iterable<ServedModel>) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.answers = new Counter({
      ...{
        name: "spa_requests_total",
        help: "Answers by route and status; 499: the client has gone",
        registers,
      },
      labelNames: ["route", "status"],
    });
    this.duration = new Histogram({
      ...{ name: "spa_request_seconds", help: "Seconds from a request to its answer's end", registers },
      ...{ labelNames: ["route"], buckets: SECONDS },
    });
    this.firstText = new Histogram({
      ...{ name: "spa_first_text_seconds", help: "Seconds from a request to its first text", registers },
      buckets: SECONDS,
    });
    const gauge = (name: string, help: string, value: (served: ServedModel) => number) =>
      new Gauge({
        ...{ name, help, registers, labelNames: ["model"] },
        collect() {
          for (const served of models()) this.set({ model: served.name }, value(served));
        },
      });
    gauge("spa_slots", "Requests that can sample at the same time", ({ sampler }) => sampler.slots);
    gauge("spa_running", "Requests that sample", ({ sampler }) => sampler.figures.active);
    gauge("spa_waiting", "Requests that wait for a slot", ({ sampler }) => sampler.figures.waiting);
    gauge("spa_prompt_tokens_total", "Prompt tokens taken", ({ sampler }) => sampler.figures.promptTokens);
    gauge(
      "spa_cached_tokens_total",
      "Prompt tokens whose cache was found",
      ({ sampler }) => sampler.figures.cachedTokens,
    );
    gauge("spa_sampled_tokens_total", "Tokens sampled", ({ sampler }) => sampler.figures.sampledTokens);
  }
}
