import { SpaError } from "../errors.ts";

/**
 * Checks of arguments before native code sees them. Each takes the argument's name as the caller knows it and throws
 * `BAD_ARGUMENT` with what is wrong and where.
 */

/**
 * Rows of tokens laid end to end: row i is `tokens[offsets[i]]` up to but not including `tokens[offsets[i + 1]]`. The arrays may be
 * changed once a call has begun.
 */
export interface RaggedBatch {
  /** Token ids. */
  tokens: ArrayLike<number>;
  /** rows + 1 positions in `tokens`: the first 0, none smaller than the one before, the last `tokens.length`. */
  offsets: ArrayLike<number>;
}

/** A ragged batch whose arrays have the types that native code reads. */
export interface CheckedBatch {
  tokens: Int32Array;
  offsets: Uint32Array;
}

export function badArgument(message: string, hint?: string): SpaError {
  return new SpaError("BAD_ARGUMENT", message, hint === undefined ? {} : { hint });
}

/** `value` in words short enough for a message. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (ArrayBuffer.isView(value)) return `a ${value.constructor.name}`;
  if (typeof value === "object" && value !== null) return "an object";
  return String(value);
}

/** Refuses anything but an object, and keys that are not among `known`. */
export function checkObject(value: unknown, name: string, known?: readonly string[]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
    throw badArgument(`${name} must be an object, not ${show(value)}`);
  }
  if (known === undefined) return;
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) {
      throw badArgument(
        `${name} has an unknown key ${JSON.stringify(key)}`,
        `known keys: ${known.join(", ")}`,
      );
    }
  }
}

export function checkInteger(
  value: unknown,
  name: string,
  minimum: number,
  maximum = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < minimum || value > maximum) {
    const range =
      maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
    throw badArgument(`${name} must be a whole number ${range}, not ${show(value)}`);
  }
  return value;
}

/** Where an interval ends, and whether the end belongs to it. */
export interface Interval {
  above?: number;
  atLeast?: number;
  below?: number;
  atMost?: number;
}

export function checkNumber(value: unknown, name: string, interval: Interval = {}): number {
  const {
    above = Number.NEGATIVE_INFINITY,
    atLeast = above,
    below = Number.POSITIVE_INFINITY,
    atMost = below,
  } = interval;
  const inside =
    typeof value === "number" &&
    Number.isFinite(value) &&
    value >= atLeast &&
    value <= atMost &&
    (interval.above === undefined || value > above) &&
    (interval.below === undefined || value < below);
  if (!inside) {
    const words = Object.entries(interval).map(
      ([key, end]) => ` ${key.replace(/[A-Z]/, (c) => ` ${c.toLowerCase()}`)} ${end}`,
    );
    throw badArgument(`${name} must be a finite number${words.join(" and")}, not ${show(value)}`);
  }
  return value;
}

export function checkBoolean(value: unknown, name: string): boolean {
  if (typeof value !== "boolean") throw badArgument(`${name} must be true or false, not ${show(value)}`);
  return value;
}

export function checkOneOf<T extends string>(value: unknown, name: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) {
    throw badArgument(
      `${name} must be one of ${choices.map((c) => `"${c}"`).join(", ")}, not ${show(value)}`,
    );
  }
  return found;
}

export function checkText(value: unknown, name: string): string {
  if (typeof value !== "string" || value === "")
    throw badArgument(`${name} must be a text, not ${show(value)}`);
  return value;
}

/** The same value, if it is an array or a typed array, whatever its entries are. `kind` is for the message. */
export function checkArray(value: unknown, name: string, kind: string): ArrayLike<unknown> {
  const isArray = Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
  if (!isArray || value instanceof BigInt64Array || value instanceof BigUint64Array) {
    throw badArgument(`${name} must be a ${kind} or an array of numbers, not ${show(value)}`);
  }
  return value as unknown as ArrayLike<unknown>;
}

function isWhole(value: unknown): value is number {
  return Number.isInteger(value);
}

type Numbers = Int32Array | Uint32Array | Float32Array | Uint8Array;

/**
 * The array that native code gets in place of `source`: `source` itself where it has the type already, for native code copies
 * arrays before a call returns (native/binding/convert.h), and only another thread could change one between check and copy.
 */
function targetOf<T extends Numbers>(
  source: ArrayLike<unknown>,
  kind: { new (length: number): T; readonly prototype: T },
): T {
  const isTarget = Object.getPrototypeOf(source) === kind.prototype;
  if (isTarget && !((source as T).buffer instanceof SharedArrayBuffer)) return source as T;
  return new kind(source.length);
}

/** The same whole numbers, each from `minimum` to `maximum`; not a copy where `value` is an Int32Array. */
export function toInt32(value: unknown, name: string, minimum: number, maximum: number): Int32Array {
  const source = checkArray(value, name, "Int32Array");
  return checkWhole(source, targetOf(source, Int32Array), name, minimum, maximum);
}

/** The same whole numbers, each from 0 to `maximum`; not a copy where `value` is a Uint32Array. */
export function toUint32(value: unknown, name: string, maximum: number): Uint32Array {
  const source = checkArray(value, name, "Uint32Array");
  return checkWhole(source, targetOf(source, Uint32Array), name, 0, maximum);
}

function checkWhole<T extends Int32Array | Uint32Array>(
  source: ArrayLike<unknown>,
  result: T,
  name: string,
  minimum: number,
  maximum: number,
): T {
  for (let i = 0; i < source.length; i++) {
    const entry = source[i];
    if (!isWhole(entry) || entry < minimum || entry > maximum) {
      throw badArgument(
        `${name}[${i}] is ${show(entry)}; it must be a whole number from ${minimum} to ${maximum}`,
      );
    }
    result[i] = entry;
  }
  return result;
}

/** The same numbers, all of them finite; `length` entries. Not a copy where `value` is a Float32Array. */
export function toFloat32(value: unknown, name: string, length: number): Float32Array {
  const source = checkArray(value, name, "Float32Array");
  checkLength(source.length, name, length);
  const result = targetOf(source, Float32Array);
  for (let i = 0; i < length; i++) {
    const entry = source[i];
    // What is no number may throw when it is made one.
    if (typeof entry === "number") result[i] = entry;
    if (typeof entry !== "number" || !Number.isFinite(result[i])) {
      throw badArgument(`${name}[${i}] is ${show(entry)}; it must be a finite float32 number`);
    }
  }
  return result;
}

/** Zeros and ones (true and false are taken too); `length` entries. Not a copy where `value` is a Uint8Array. */
export function toMask(value: unknown, name: string, length: number): Uint8Array {
  const source = checkArray(value, name, "Uint8Array");
  checkLength(source.length, name, length);
  const result = targetOf(source, Uint8Array);
  for (let i = 0; i < length; i++) {
    const entry = source[i];
    if (entry !== 0 && entry !== 1 && typeof entry !== "boolean")
      throw badArgument(`${name}[${i}] is ${show(entry)}; a mask holds only 0 and 1`);
    result[i] = Number(entry);
  }
  return result;
}

function checkLength(length: number, name: string, expected: number): void {
  if (length !== expected) {
    throw badArgument(`${name} has ${length} entries, but there are ${expected} tokens`);
  }
}

/** Offsets that cut `length` entries of `of` into rows; not a copy where `value` is a Uint32Array. */
export function toOffsets(value: unknown, name: string, length: number, of: string): Uint32Array {
  const source = checkArray(value, name, "Uint32Array");
  if (source.length === 0) throw badArgument(`${name} is empty; it holds one entry more than there are rows`);
  const result = targetOf(source, Uint32Array);
  for (let i = 0; i < source.length; i++) {
    const entry = source[i];
    if (!isWhole(entry) || entry < 0 || entry > 0xffffffff) {
      throw badArgument(`${name}[${i}] is ${show(entry)}; it must be a whole number of at least 0`);
    }
    if (i === 0 && entry !== 0) throw badArgument(`${name}[0] is ${entry}; the first offset must be 0`);
    if (i > 0 && entry < result[i - 1]) {
      throw badArgument(`${name}[${i}] is ${entry}, less than ${name}[${i - 1}] = ${result[i - 1]}`);
    }
    result[i] = entry;
  }
  const last = result[result.length - 1];
  if (last !== length) {
    throw badArgument(`${name} ends with ${last}, but ${of} has ${length} entries`);
  }
  return result;
}

/** Checks a ragged batch against a vocabulary. Arrays that have the types of {@link CheckedBatch} are not copied. */
export function checkBatch(batch: RaggedBatch, name: string, vocabulary: number): CheckedBatch {
  checkObject(batch, name);
  const tokens = toInt32(batch.tokens, `${name}.tokens`, 0, vocabulary - 1);
  return { tokens, offsets: toOffsets(batch.offsets, `${name}.offsets`, tokens.length, `${name}.tokens`) };
}

/** Refuses rows that are longer than the model's positions. */
export function checkRowLengths({ offsets }: CheckedBatch, maximum: number): void {
  for (let row = 0; row + 1 < offsets.length; row++) {
    const length = offsets[row + 1] - offsets[row];
    if (length > maximum) {
      throw new SpaError("CAPACITY", `row ${row} has ${length} tokens, the model has ${maximum} positions`, {
        hint: "shorten the row (max_position_embeddings in config.json is the limit)",
      });
    }
  }
}
