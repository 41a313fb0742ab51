// Values that other people's code returned or threw, described for messages. Nothing here throws, whatever it is given.

/** Characters of a value that a message shows. */
const SHOWN = 80;

/** Characters of what was thrown that a message shows. */
const SHOWN_ERROR = 400;

/** Whether awaiting `value` would wait for something. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  const kind = typeof value;
  if (value === null || (kind !== "object" && kind !== "function")) return false;
  try {
    return typeof (value as { then?: unknown }).then === "function";
  } catch {
    return false;
  }
}

/** What {@link withinTime} gives where no answer came. */
export const LATE = Symbol("late");

/** What a promise resolves to, or {@link LATE} after so many seconds; null: waits as long as it takes. */
export async function withinTime(promise: PromiseLike<unknown>, seconds: number | null): Promise<unknown> {
  if (seconds === null) return await promise;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, seconds * 1000, LATE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A value in a few words: `"false"`, `a promise`, `an array: ["P",0,true]`. */
export function shownValue(value: unknown): string {
  try {
    if (typeof value === "string") return JSON.stringify(shortened(value, SHOWN));
    if (typeof value === "bigint") return `${value}n`;
    if (typeof value === "function") return "a function";
    if (typeof value === "symbol") return "a symbol";
    if (typeof value !== "object" || value === null) return String(value);
    if (isPromise(value)) return "a promise";
    const content = shortened(JSON.stringify(value) ?? "", SHOWN);
    return Array.isArray(value) ? `an array: ${content}` : `an object: ${content}`;
  } catch {
    return `${typeof value === "object" ? "an object" : `a ${typeof value}`} that cannot be shown`;
  }
}

/** What was thrown, in words: an error's message, a text itself, anything else as {@link shownValue} has it. */
export function shownError(error: unknown): string {
  try {
    const isError = error instanceof Error;
    const text = isError ? error.message || error.name : error;
    if (typeof text !== "string") return shownValue(text);
    return shortened(text, SHOWN_ERROR);
  } catch {
    return "an error that cannot be shown";
  }
}

function shortened(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length)}…`;
}

/**
 * What in `value` would not come back from a JSON file, as its path and what it is; null if all does. Shared and cyclic
 * parts count as deep nesting.
 */
export function lossInJson(value: unknown, path: string, depth = 0): string | null {
  if (value === null || typeof value === "string" || typeof value === "boolean") return null;
  if (typeof value === "number") return Number.isFinite(value) ? null : `${path} is ${value}`;
  if (typeof value !== "object" || isPromise(value)) return `${path} is ${shownValue(value)}`;
  if (depth > 200) return `${path} is nested more than 200 deep`;
  if (Array.isArray(value)) return firstLoss(value.entries(), (index) => `${path}[${index}]`, depth);
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    return `${path} is a ${value.constructor?.name ?? "class instance"}, not a plain object`;
  }
  const entries = Object.entries(value).filter(([, part]) => part !== undefined);
  return firstLoss(entries, (key) => `${path}.${key}`, depth);
}

function firstLoss<Key>(
  parts: Iterable<[Key, unknown]>,
  name: (key: Key) => string,
  depth: number,
): string | null {
  for (const [key, part] of parts) {
    const loss = lossInJson(part, name(key), depth + 1);
    if (loss !== null) return loss;
  }
  return null;
}
