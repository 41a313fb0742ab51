import { badArgument, checkInteger, checkNumber, checkObject, toInt32 } from "../addon/arguments.ts";
import type { Model } from "../engine/model.ts";
import type { Finish, Session } from "../engine/session.ts";
import { SpaError } from "../errors.ts";
import { joined } from "../typed-arrays.ts";
import type { Sample, SampleRequest } from "./sample.ts";
import { type Slot, SlotTable, worthSharing } from "./slot-table.ts";

export interface SamplerOptions {
  model: Model;
  /** Requests that sample at the same time. */
  slots: number;
  /** Of a prompt and its sample together. */
  maxTokens: number;
  /** Seed of the random streams; by default the engine's. */
  seed?: number;
}

/** What a sampler has done so far, and what it is doing. */
export interface SamplerFigures {
  active: number;
  waiting: number;
  promptTokens: number;
  cachedTokens: number;
  sampledTokens: number;
}

/** Milliseconds of sampling between two occasions to join and leave. */
const WINDOW = 50;
/** Steps of a window: the engine's own windows are as long (native/engine/session.cc). */
const LONGEST_WINDOW = 16;
/** Prompt tokens between two windows: long prompts do not hold up those who sample. */
const PROMPT_TOKENS = 2048;

/** A request under way. */
interface Task {
  request: SampleRequest;
  slot: Slot | undefined;
  limit: number;
  /** Requests with equal keys are sampled by one call. */
  key: string;
  tokens: Int32Array[];
  logProbs: Float32Array[];
  count: number;
  cached: number;
  resolve: (sample: Sample) => void;
  reject: (error: unknown) => void;
}

/**
 * Samples for many at a time in one session: requests join and leave while others go on (continuous batching, Orca, Yu et al.,
 * OSDI 2022), and a prompt that begins as an earlier one, or goes on with one, finds its cache again.
 *
 * A sample depends on (seed, stream, prompt) alone, beyond float rounding: neither on who else samples nor on what the cache
 * holds. The session has one slot more than may sample, so that a beginning can always be copied; its memory is taken at once.
 */
export class Sampler implements AsyncDisposable {
  readonly model: Model;
  readonly maxTokens: number;
  readonly slots: number;
  readonly #session: Session;
  readonly #table: SlotTable;
  readonly #totals = { promptTokens: 0, cachedTokens: 0, sampledTokens: 0 };
  #waiting: Task[] = [];
  #active: Task[] = [];
  /** Work that waits for nobody to sample. */
  readonly #pauses: { run: () => Promise<void>; reject: (error: unknown) => void }[] = [];
  #running: Promise<void> | undefined;
  #version: number;
  #steps = 1;
  #disposed = false;

  private constructor(session: Session, options: SamplerOptions) {
    this.#session = session;
    this.model = options.model;
    this.maxTokens = options.maxTokens;
    this.slots = options.slots;
    this.#table = new SlotTable(session.slots, session.maxTokens);
    this.#version = options.model.version;
  }

  /** @throws SpaError `OUT_OF_MEMORY` where the slots do not fit, `BAD_ARGUMENT`, `CAPACITY` */
  static async open(options: SamplerOptions): Promise<Sampler> {
    const { model, slots, maxTokens, seed } = options;
    checkInteger(slots, "slots", 1);
    const session = await model.openSession({
      slots: slots + 1,
      maxTokens,
      ...(seed !== undefined && { seed }),
    });
    try {
      const sampler = new Sampler(session, options);
      await sampler.#startAnew();
      return sampler;
    } catch (error) {
      await session.dispose();
      throw error;
    }
  }

  get figures(): SamplerFigures {
    return { active: this.#active.length, waiting: this.#waiting.length, ...this.#totals };
  }

  /**
   * Samples behind a prompt.
   *
   * @throws SpaError `BAD_ARGUMENT`; `CAPACITY` where the prompt leaves no room; `ABORTED`; `STALE_CACHE` where
   * the weights change meanwhile; `NOT_FINITE`; `DISPOSED`
   */
  async sample(request: SampleRequest): Promise<Sample> {
    const limit = this.#check(request);
    const { temperature = 1, topK = 0, topP = 1, stopTokens = [], signal } = request;
    if (signal?.aborted) throw aborted(signal);
    const key = JSON.stringify([temperature, topK, topP, Array.from(stopTokens)]);
    const state = { slot: undefined, tokens: [], logProbs: [], count: 0, cached: 0 };
    let forget = () => {};
    try {
      return await new Promise<Sample>((resolve, reject) => {
        const task: Task = { request, limit, key, ...state, resolve, reject };
        forget = () => this.#forget(task);
        signal?.addEventListener("abort", forget, { once: true });
        this.#waiting.push(task);
        this.#running ??= this.#run();
      });
    } finally {
      signal?.removeEventListener("abort", forget);
    }
  }

  /** @returns the most new tokens */
  #check(request: SampleRequest): number {
    checkObject(request, "request");
    const { prompt, topP, temperature, topK, stream, stopTokens, maxNewTokens } = request;
    if (this.#disposed) throw disposed();
    toInt32(prompt, "prompt", 0, this.model.config.vocabularySize - 1);
    if (prompt.length === 0) throw badArgument("the prompt holds no tokens");
    checkNumber(temperature ?? 1, "temperature", { atLeast: 0 });
    checkNumber(topP ?? 1, "topP", { above: 0, atMost: 1 });
    checkInteger(topK ?? 0, "topK", 0);
    checkInteger(stream, "stream", 0);
    toInt32(stopTokens ?? [], "stopTokens", 0, this.model.config.vocabularySize - 1);
    const room = this.maxTokens - prompt.length;
    if (room < 1) {
      throw new SpaError(
        "CAPACITY",
        `the prompt has ${prompt.length} tokens; with a token behind it it passes the limit of ${this.maxTokens}`,
        { hint: "shorten the prompt, or raise maxTokens" },
      );
    }
    return Math.min(room, maxNewTokens === undefined ? room : checkInteger(maxNewTokens, "maxNewTokens", 1));
  }

  /** Takes a request that is not wanted any more out, at once where it waits; else at the end of its window. */
  #forget(task: Task): void {
    if (!this.#waiting.includes(task)) return;
    this.#waiting = this.#waiting.filter((other) => other !== task);
    task.reject(aborted(task.request.signal));
  }

  /**
   * Does work while nobody samples, such as a change of the weights: who is under way ends first, who comes meanwhile waits.
   *
   * @throws SpaError `DISPOSED`, and what the work throws
   */
  between<T>(work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#disposed) throw disposed();
      this.#pauses.push({ run: () => work().then(resolve, reject), reject });
      this.#running ??= this.#run();
    });
  }

  async #run(): Promise<void> {
    // Who asks in the same turn of the event loop begins together.
    await new Promise((resolve) => setImmediate(resolve));
    while (!this.#disposed && this.#waiting.length + this.#active.length + this.#pauses.length > 0) {
      try {
        if (this.#active.length === 0) for (const { run } of this.#pauses.splice(0)) await run();
        await this.#round();
      } catch (error) {
        await this.#fail(error);
      }
    }
    this.#running = undefined;
  }

  async #round(): Promise<void> {
    if (this.#active.length === 0 && this.#version !== this.model.version) await this.#startAnew();
    let joined: Task[];
    do {
      joined = await this.#admit();
      await this.#extend();
    } while (joined.length > 0);
    const groups = new Map<string, Task[]>();
    for (const task of this.#active) {
      if (task.slot!.held < task.slot!.length) continue;
      groups.set(task.key, [...(groups.get(task.key) ?? []), task]);
    }
    for (const group of groups.values()) await this.#sampleWindow(group);
  }

  /** Lets the session follow the model's present weights. The cache's memory is there from its first tokens on: what does not fit shows now. */
  async #startAnew(): Promise<void> {
    await this.#session.releaseAll();
    this.#table.clear();
    this.#version = this.model.version;
    const first = Int32Array.of(0, 0);
    const slot = this.#table.toFill(undefined)!;
    await this.#session.extend([slot.index], { tokens: first, offsets: [0, first.length] });
    this.#table.begin(slot, first, first.length);
    this.#table.end(slot);
  }

  /** Gives slots to those who wait, in their order, and to each what the cache has of its prompt. */
  async #admit(): Promise<Task[]> {
    const admitted: Task[] = [];
    while (this.#waiting.length > 0 && this.#active.length < this.slots && this.#pauses.length === 0) {
      const [task] = this.#waiting;
      const { prompt } = task.request;
      const match = this.#table.longestMatch(prompt);
      const found = Math.min(match?.length ?? 0, match?.slot.held ?? 0);
      // What is about to be computed for another is worth waiting for.
      if (match && match.length - found >= worthSharing) break;
      const slot = this.#table.toFill(match?.slot)!;
      this.#waiting.shift();
      admitted.push(task);
      const isEmptied = slot.length > 0;
      task.slot = slot;
      task.cached = found >= worthSharing ? found : 0;
      this.#table.begin(slot, prompt, task.cached);
      this.#active.push(task);
      this.#totals.promptTokens += prompt.length;
      this.#totals.cachedTokens += task.cached;
      if (isEmptied) await this.#session.release([slot.index]);
      if (task.cached > 0) await this.#session.fork(match!.slot.index, [slot.index], { length: task.cached });
    }
    return admitted;
  }

  /** Runs the next part of the prompts that are not in the cache yet. */
  async #extend(): Promise<void> {
    const rows: { slot: Slot; tokens: Int32Array }[] = [];
    let left = PROMPT_TOKENS;
    for (const { slot } of this.#active) {
      const { held, length, tokens } = slot!;
      const count = Math.min(length - held, left);
      if (count === 0) continue;
      left -= count;
      rows.push({ slot: slot!, tokens: tokens.subarray(held, held + count) });
    }
    if (rows.length === 0) return;
    const offsets = new Uint32Array(rows.length + 1);
    for (const [index, { tokens }] of rows.entries()) offsets[index + 1] = offsets[index] + tokens.length;
    const tokens = joined(
      Int32Array,
      rows.map((row) => row.tokens),
    );
    await this.#session.extend(
      rows.map(({ slot }) => slot.index),
      { tokens, offsets },
    );
    for (const row of rows) row.slot.held += row.tokens.length;
  }

  /** A few steps of requests that are sampled alike. */
  async #sampleWindow(tasks: readonly Task[]): Promise<void> {
    const { temperature, topK, topP, stopTokens } = tasks[0].request;
    const begin = performance.now();
    const { tokens, logProbs, offsets, finish } = await this.#session.generate(
      tasks.map(({ slot }) => slot!.index),
      {
        maxNewTokens: tasks.map(({ limit, count }) => Math.min(this.#steps, limit - count)),
        streams: tasks.map(({ request }) => request.stream),
        ...{ temperature, topK, topP, stopTokens },
      },
    );
    this.#pace(performance.now() - begin);
    for (const [row, task] of tasks.entries()) {
      const [from, to] = [offsets[row], offsets[row + 1]];
      this.#take(task, tokens.slice(from, to), logProbs.slice(from, to), finish[row]);
    }
  }

  /** Chooses how long the next window is: long enough that calls cost little, short enough to join soon. What is sampled does not depend on it. */
  #pace(milliseconds: number): void {
    if (milliseconds < WINDOW / 2) this.#steps = Math.min(2 * this.#steps, LONGEST_WINDOW);
    else if (milliseconds > WINDOW) this.#steps = Math.max(1, this.#steps >> 1);
  }

  #take(task: Task, tokens: Int32Array, logProbs: Float32Array, finish: Finish): void {
    this.#table.append(task.slot!, tokens);
    this.#totals.sampledTokens += tokens.length;
    task.tokens.push(tokens);
    task.logProbs.push(logProbs);
    task.count += tokens.length;
    const settle = settlement(task, tokens, logProbs, finish);
    if (settle === undefined) return;
    this.#table.end(task.slot!);
    this.#active = this.#active.filter((other) => other !== task);
    settle();
  }

  /** A call has failed: whoever was under way is told, and the slots begin anew. */
  async #fail(error: unknown): Promise<void> {
    const failed = this.#active;
    this.#active = [];
    for (const task of failed) task.reject(error);
    // Where nobody was under way, those who wait must not wait for ever.
    if (failed.length === 0) for (const task of this.#waiting.splice(0)) task.reject(error);
    if (!this.#disposed) await this.#startAnew().catch(() => undefined);
  }

  /** Ends the session; requests that are not done reject with `DISPOSED`. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const task of this.#waiting.splice(0)) task.reject(disposed());
    await this.#running;
    for (const { reject } of [...this.#active.splice(0), ...this.#pauses.splice(0)]) reject(disposed());
    await this.#session.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

/** How a request ends with its newest tokens; undefined where it goes on. */
function settlement(
  task: Task,
  tokens: Int32Array,
  logProbs: Float32Array,
  finish: Finish,
): (() => void) | undefined {
  const { request, resolve, reject } = task;
  if (request.signal?.aborted) return () => reject(aborted(request.signal));
  if (!logProbs.every(Number.isFinite)) return () => reject(notFinite());
  let told: boolean | undefined;
  try {
    told = request.onTokens?.(tokens, logProbs);
  } catch (error) {
    return () => reject(error);
  }
  if (told !== true && finish === "length" && task.count < task.limit) return undefined;
  return () =>
    resolve({
      tokens: joined(Int32Array, task.tokens),
      logProbs: joined(Float32Array, task.logProbs),
      finish: told === true ? "told" : finish,
      cached: task.cached,
    });
}

function aborted(signal: AbortSignal | undefined): SpaError {
  return new SpaError("ABORTED", "the request was aborted", { cause: signal?.reason });
}

function disposed(): SpaError {
  return new SpaError("DISPOSED", "the sampler was disposed", { hint: "open a new one" });
}

function notFinite(): SpaError {
  return new SpaError("NOT_FINITE", "the model gave a log-prob that is not a number", {
    hint: "its training has diverged; take an earlier checkpoint",
  });
}
