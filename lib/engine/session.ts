import type { NativeCall, NativeProgress, NativeSession } from "../addon/addon.ts";
import {
  badArgument,
  checkArray,
  checkBatch,
  checkInteger,
  checkNumber,
  checkObject,
  type RaggedBatch,
  toInt32,
} from "../addon/arguments.ts";
import { SpaError } from "../errors.ts";
import { type LongCall, longCallKeys } from "./call.ts";
import { Handle } from "./handle.ts";
import type { Model } from "./model.ts";

export interface GenerateOptions extends LongCall {
  /** At most so many new tokens, one limit for all slots or one each. */
  maxNewTokens: number | ArrayLike<number>;
  /** 1 by default; 0 is greedy. */
  temperature?: number;
  /** Sample from the k likeliest tokens only; 0 or absent: from all. */
  topK?: number;
  /** Sample from the fewest likeliest tokens whose probabilities reach this; 1 or absent: from all. */
  topP?: number;
  /** Tokens that end a row. */
  stopTokens?: ArrayLike<number>;
  /** Trajectory id of each slot; a sample depends on (seed, stream, token position) alone. By default the slot numbers. */
  streams?: ArrayLike<number>;
}

/** Why a row ended: a stop token, `maxNewTokens`, or the slot's `maxTokens`. */
export type Finish = "stop" | "length" | "context";

/** Row i belongs to the i-th slot asked for: `offsets[i]` up to `offsets[i + 1]`, the stop token included. */
export interface Generated {
  tokens: Int32Array;
  /** log_softmax(logits / temperature) of each token, whatever topK and topP are. At temperature 0 of the logits. */
  logProbs: Float32Array;
  offsets: Uint32Array;
  finish: Finish[];
}

const finishes: readonly Finish[] = ["stop", "length", "context"];
const maximumTokens = 2 ** 31 - 1;

/**
 * KV-cache slots that live as long as an episode. Made by {@link Model.openSession}.
 *
 * After an error or abort all slots are as they were. Once the model's weights have changed, `extend`,
 * `fork` and `generate` reject with `STALE_CACHE` until all slots have been released.
 */
export class Session extends Handle<NativeSession> {
  readonly model: Model;
  readonly slots: number;
  readonly maxTokens: number;
  readonly #lengths: Uint32Array;
  /** Calls under way: while there are any, `#lengths` is behind and native code alone checks the slots' states. */
  #pending = 0;

  /** @internal */
  constructor(model: Model, native: NativeSession, slots: number, maxTokens: number) {
    super("session", native, model);
    this.model = model;
    this.slots = slots;
    this.maxTokens = maxTokens;
    this.#lengths = new Uint32Array(slots);
  }

  /** Tokens held by a slot, as far as calls have settled. */
  lengthOf(slot: number): number {
    return this.#lengths[checkInteger(slot, "slot", 0, this.slots - 1)];
  }

  /**
   * Appends row i of `batch` to `slots[i]`.
   *
   * @throws SpaError `CAPACITY`, `BAD_ARGUMENT`, `STALE_CACHE`, `ABORTED`.
   */
  async extend(slots: ArrayLike<number>, batch: RaggedBatch, options: LongCall = {}): Promise<void> {
    checkObject(options, "options", longCallKeys);
    const named = this.#checkSlots(slots);
    const rows = checkBatch(batch, "batch", this.model.config.vocabularySize);
    if (rows.offsets.length !== named.length + 1) {
      throw badArgument(`batch has ${rows.offsets.length - 1} rows for ${named.length} slots`);
    }
    const added = named.map((_, i) => rows.offsets[i + 1] - rows.offsets[i]);
    for (const [i, slot] of named.entries()) {
      if (added[i] === 0) throw badArgument(`row ${i} of the batch holds no tokens`);
      if (this.#pending === 0 && this.#lengths[slot] + added[i] > this.maxTokens) {
        const message = `slot ${slot} holds ${this.#lengths[slot]} tokens; ${added[i]} more pass its maximum of ${this.maxTokens}`;
        throw new SpaError("CAPACITY", message, { hint: "open the session with a larger maxTokens" });
      }
    }
    if (named.length === 0) return;
    await this.call((native, progress) => native.extend(named, rows, progress), options);
    for (const [i, slot] of named.entries()) this.#lengths[slot] += added[i];
  }

  /**
   * Makes empty slots copies of `slot`, or of its first `length` tokens; the cache of what they have in common is shared.
   *
   * @throws SpaError `BAD_ARGUMENT`, `STALE_CACHE`.
   */
  async fork(slot: number, targets: ArrayLike<number>, options: { length?: number } = {}): Promise<void> {
    checkObject(options, "options", ["length"]);
    const named = this.#checkSlots(targets, "targets");
    const source = checkInteger(slot, "slot", 0, this.slots - 1);
    if (named.includes(source)) throw badArgument(`slot ${source} cannot be forked onto itself`);
    if (this.#pending === 0) {
      if (this.#lengths[source] === 0) throw badArgument(`slot ${source} is empty, there is nothing to fork`);
      if (options.length !== undefined) checkInteger(options.length, "length", 1, this.#lengths[source]);
      const full = named.find((target) => this.#lengths[target] > 0);
      if (full !== undefined) {
        const message = `slot ${full} is not empty (${this.#lengths[full]} tokens), so that nothing can be forked onto it`;
        throw badArgument(message, "release it first");
      }
    }
    if (named.length === 0) return;
    const { length } = options;
    await this.call((native) => native.fork(source, named, length));
    for (const target of named) this.#lengths[target] = length ?? this.#lengths[source];
  }

  /**
   * Samples new tokens for slots that hold at least one. Afterwards each slot holds its new tokens, the stop token
   * included. Progress counts finished rows.
   *
   * @throws SpaError `BAD_ARGUMENT`, `CAPACITY` (a slot that is full), `STALE_CACHE`, `ABORTED`.
   */
  async generate(slots: ArrayLike<number>, options: GenerateOptions): Promise<Generated> {
    checkObject(options, "options", [
      "maxNewTokens",
      "temperature",
      "topK",
      "topP",
      "stopTokens",
      "streams",
      ...longCallKeys,
    ]);
    const named = this.#checkSlots(slots);
    const settings = this.#checkGenerate(named.length, options);
    if (this.#pending === 0) this.#checkRoom(named);
    if (named.length === 0) {
      return {
        tokens: new Int32Array(),
        logProbs: new Float32Array(),
        offsets: new Uint32Array(1),
        finish: [],
      };
    }
    const result = await this.call((native, progress) => native.generate(named, settings, progress), options);
    for (const [i, slot] of named.entries()) this.#lengths[slot] += result.offsets[i + 1] - result.offsets[i];
    return { ...result, finish: Array.from(result.finish, (code) => finishes[code]) };
  }

  /** Sampling needs at least one token to go on from, and room for one more. */
  #checkRoom(slots: Int32Array): void {
    for (const slot of slots) {
      const length = this.#lengths[slot];
      if (length === 0) throw badArgument(`slot ${slot} is empty`, "extend it with a prompt first");
      if (length === this.maxTokens) {
        throw new SpaError(
          "CAPACITY",
          `slot ${slot} is full: it holds ${length} tokens of at most ${this.maxTokens}`,
        );
      }
    }
  }

  #checkGenerate(rows: number, options: GenerateOptions) {
    const vocabulary = this.model.config.vocabularySize;
    const limits = options.maxNewTokens;
    const maxNewTokens =
      typeof limits === "number"
        ? new Int32Array(rows).fill(checkInteger(limits, "maxNewTokens", 1, maximumTokens))
        : toInt32(limits, "maxNewTokens", 1, maximumTokens);
    if (maxNewTokens.length !== rows)
      throw badArgument(`maxNewTokens has ${maxNewTokens.length} entries for ${rows} slots`);
    const ids = checkArray(options.streams ?? [], "streams", "Float64Array");
    const streams = Float64Array.from({ length: ids.length }, (_, i) =>
      checkInteger(ids[i], `streams[${i}]`, 0),
    );
    if (options.streams != null && streams.length !== rows) {
      throw badArgument(`streams has ${streams.length} entries for ${rows} slots`);
    }
    return {
      maxNewTokens,
      streams,
      temperature: checkNumber(options.temperature ?? 1, "temperature", { atLeast: 0 }),
      topK: checkInteger(options.topK ?? 0, "topK", 0),
      topP: checkNumber(options.topP ?? 1, "topP", { above: 0, atMost: 1 }),
      stopTokens: toInt32(options.stopTokens ?? [], "stopTokens", 0, vocabulary - 1),
    };
  }

  /** Empties slots. */
  async release(slots: ArrayLike<number>): Promise<void> {
    const named = this.#checkSlots(slots);
    if (named.length === 0) return;
    await this.call((native) => native.release(named));
    for (const slot of named) this.#lengths[slot] = 0;
  }

  /** Empties all slots and lets the session follow the model's present weights. */
  async releaseAll(): Promise<void> {
    await this.call((native) => native.releaseAll());
    this.#lengths.fill(0);
  }

  /** A copy of the slots' numbers: they are asked for again when a call has settled. */
  #checkSlots(slots: ArrayLike<number>, name = "slots"): Int32Array {
    void this.native;
    const named = toInt32(slots, name, 0, this.slots - 1).slice();
    const seen = new Set<number>();
    for (const [i, slot] of named.entries()) {
      if (seen.has(slot)) throw badArgument(`${name}[${i}] names slot ${slot} a second time`);
      seen.add(slot);
    }
    return named;
  }

  protected override async call<T>(
    start: (native: NativeSession, progress: NativeProgress) => NativeCall<T>,
    options?: LongCall,
  ): Promise<T> {
    this.#pending++;
    try {
      return await super.call(start, options);
    } finally {
      this.#pending--;
    }
  }
}
