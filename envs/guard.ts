import { SpaError } from "../lib/errors.ts";
import type { Environment, Json, RenderMode, ResetOptions, StepResult } from "./environment.ts";
import { isPromise, LATE, lossInJson, shownError, shownValue, withinTime } from "./foreign-value.ts";
import { isStepResult, stepFault } from "./step-result.ts";

/** Seconds that a promise of an environment may take where nobody says otherwise. */
export const DEFAULT_TIMEOUT = 60;

/** Longest wait for `close()`, in seconds: the work is done by then. */
const CLOSE_TIMEOUT = 5;

const METHODS = ["instructions", "reset", "step", "render", "state", "restore"] as const;
const OPTIONAL_METHODS = ["parseAction", "shortestSolution", "bestAction", "close"] as const;
type Method = (typeof METHODS)[number] | (typeof OPTIONAL_METHODS)[number];

const hints: Record<Method, string> = {
  instructions: "instructions() returns the task in words, a text",
  reset: "reset() takes { seed, level } and returns the state's text, or a promise of it",
  step: "step() takes any text, and returns observation, reward, terminated, truncated, info, or a promise of them",
  render: 'render() returns a text at once, for "grid" and for "structured"',
  state: "state() returns at once a JSON value that restore() goes on from",
  restore: "restore() takes what state() returned, and works at once",
  parseAction: "parseAction() returns an action's spelling, or null for a text that names none, at once",
  shortestSolution: "shortestSolution() returns at once a whole number of actions, or null",
  bestAction: "bestAction() returns at once one of the actions, or null",
  close: "close() lets go of what the environment holds; it may return a promise",
};

/** What keeps `candidate` from being an environment, in words; null if nothing does. */
function interfaceFault(candidate: unknown): string | null {
  if (isPromise(candidate)) return "create() returned a promise; what takes time belongs into reset()";
  if (typeof candidate !== "object" || candidate === null) {
    return `it is not an object, but ${shownValue(candidate)}`;
  }
  const parts = candidate as Partial<Record<keyof Environment, unknown>>;
  const missing = METHODS.find((method) => typeof parts[method] !== "function");
  if (missing !== undefined) return `${missing} is not a function`;
  const odd = OPTIONAL_METHODS.find((method) => parts[method] != null && typeof parts[method] !== "function");
  if (odd !== undefined) return `${odd} is ${shownValue(parts[odd])}, not a function`;
  if (typeof parts.name !== "string") return `name is not a text, but ${shownValue(parts.name)}`;
  return actionsFault(parts.actions);
}

function actionsFault(actions: unknown): string | null {
  if (!Array.isArray(actions)) return `actions is not an array of texts, but ${shownValue(actions)}`;
  const seen = new Set<string>();
  for (const [index, action] of actions.entries()) {
    if (typeof action !== "string") return `actions[${index}] is ${shownValue(action)}, not a text`;
    if (action === "") return `actions[${index}] is an empty text`;
    if (seen.has(action)) return `actions has ${shownValue(action)} twice`;
    seen.add(action);
  }
  return null;
}

/** How a guard works. */
export interface GuardOptions {
  /** Seconds that a promise of the environment may take; null: any. Default: 60, or what the guard has. */
  timeout?: number | null;
}

const guards = new WeakMap<object, GuardedEnvironment>();

/** The guard of an environment; always the same one, and a guard is its own. */
export function guard(environment: Environment, { timeout }: GuardOptions = {}): GuardedEnvironment {
  let guarded = guards.get(environment);
  if (guarded === undefined) {
    guarded = new GuardedEnvironment(environment);
    guards.set(environment, guarded).set(guarded, guarded);
  }
  if (timeout !== undefined) guarded.timeout = timeout;
  return guarded;
}

/**
 * Makes an environment and puts it under guard.
 *
 * @param what names it where it has not said its own name
 * @throws SpaError BAD_ENVIRONMENT when `create` throws or what it makes is no environment; an SpaError of its own (about
 *   options) stays what it is
 */
export function createGuarded(
  create: () => unknown,
  what: string,
  options: GuardOptions = {},
): GuardedEnvironment {
  let environment: unknown;
  let fault: string | null;
  try {
    environment = create();
    fault = interfaceFault(environment);
  } catch (error) {
    if (error instanceof SpaError) throw error;
    throw new SpaError("BAD_ENVIRONMENT", `${what}: create() threw: ${shownError(error)}`, {
      hint: "create(options) returns an environment; SPA_DEBUG=1 shows where it failed",
      cause: error,
    });
  }
  if (fault === null) return guard(environment as Environment, options);
  disregard(environment);
  throw new SpaError("BAD_ENVIRONMENT", `${what} breaks the interface: ${fault}`, {
    hint: "see docs/environments.md, and examples/coin-grid-environment.mjs",
  });
}

/** A promise that nobody will wait for must not end the process when it fails. */
function disregard(value: unknown): void {
  if (isPromise(value)) value.then(undefined, () => {});
}

/**
 * An environment whose every answer is checked: the one place between foreign code and the engine.
 *
 * What it returns has the types of the interface. What the environment throws, whatever it is, and what it returns that is
 * not of these types become a SpaError BAD_ENVIRONMENT that names environment, method, field, value, level and turn; only a
 * SpaError keeps its code. Promises of `reset`, `step` and `close` are waited for, up to `timeout`.
 */
export class GuardedEnvironment implements Environment {
  /** Seconds that a promise may take; null: any. */
  timeout: number | null = DEFAULT_TIMEOUT;
  /** The turn of the episode under way, for messages: whoever plays in turns says it. Null after a reset. */
  turn: number | null = null;
  readonly parseAction?: (text: string) => string | null;
  readonly shortestSolution?: () => number | null;
  readonly bestAction?: (actionsLeft: number | null) => string | null;
  private readonly inner: Environment;
  private place: ResetOptions = {};
  private checkedActions: unknown;
  private closed = false;

  constructor(inner: Environment) {
    this.inner = inner;
    if (inner.parseAction != null) this.parseAction = (text) => this.textAnswer("parseAction", text);
    if (inner.shortestSolution != null) this.shortestSolution = () => this.solutionAnswer();
    if (inner.bestAction != null) this.bestAction = (left) => this.textAnswer("bestAction", left);
  }

  get name(): string {
    return this.inner.name;
  }

  get actions(): readonly string[] {
    let actions: unknown;
    let fault: string | null = null;
    try {
      actions = this.inner.actions;
      if (actions !== this.checkedActions) fault = actionsFault(actions);
    } catch (error) {
      throw this.failure(`actions threw: ${shownError(error)}`, "actions is an array of texts", error);
    }
    if (fault !== null) throw this.failure(fault, "actions is an array of texts");
    this.checkedActions = actions;
    return actions as readonly string[];
  }

  instructions(): string {
    return this.text("instructions");
  }

  reset(options: ResetOptions): string | Promise<string> {
    this.place = options;
    this.turn = null;
    const value = this.call("reset", options);
    const read = (text: unknown) =>
      typeof text === "string" ? text : this.wrong("reset", [], text, "a text");
    return isPromise(value) ? this.answer("reset", [], value, read) : read(value);
  }

  step(action: string): StepResult | Promise<StepResult> {
    let value: unknown;
    try {
      value = this.inner.step(action);
      if (isStepResult(value)) return value;
    } catch (error) {
      throw this.thrown("step", [action], error);
    }
    const read = (result: unknown) => {
      if (isStepResult(result)) return result;
      const { problem, hint, value } = stepFault(result);
      disregard(value);
      throw this.failure(`${problem} (action ${shownValue(action)})`, hint);
    };
    return isPromise(value) ? this.answer("step", [action], value, read) : read(value);
  }

  render(mode: RenderMode): string {
    return this.text("render", mode);
  }

  state(): Json {
    const value = this.call("state");
    const loss = lossInJson(value, "state()");
    if (loss === null) return value as Json;
    disregard(value);
    throw this.failure(`${loss}, which no JSON file can hold`, hints.state);
  }

  restore(state: Json): void {
    const value = this.call("restore", state);
    if (isPromise(value)) this.wrong("restore", [], value, "nothing");
  }

  /** Lets go of what the environment holds, once; waits for it, but not long. */
  async close(): Promise<void> {
    if (this.closed || this.inner.close == null) return;
    this.closed = true;
    const value = this.call("close");
    if (!isPromise(value)) return;
    const seconds = Math.min(this.timeout ?? CLOSE_TIMEOUT, CLOSE_TIMEOUT);
    await this.answer("close", [], value, () => undefined, seconds);
  }

  /** The error for a method that breaks its contract, as those are that the guard finds itself. */
  fault(problem: string, method: Method): SpaError {
    return this.failure(problem, hints[method]);
  }

  private textAnswer(method: "parseAction" | "bestAction", argument: string | number | null): string | null {
    const value = this.call(method, argument) ?? null;
    if (value === null || typeof value === "string") return value;
    return this.wrong(method, [argument], value, "a text or null");
  }

  private solutionAnswer(): number | null {
    const value = this.call("shortestSolution") ?? null;
    if (value === null || (Number.isSafeInteger(value) && (value as number) >= 0))
      return value as number | null;
    return this.wrong("shortestSolution", [], value, "a whole number or null");
  }

  private text(method: "instructions" | "render", ...args: unknown[]): string {
    const value = this.call(method, ...args);
    return typeof value === "string" ? value : this.wrong(method, args, value, "a text");
  }

  private call(method: Method, ...args: unknown[]): unknown {
    try {
      return (this.inner as unknown as Record<Method, (...args: unknown[]) => unknown>)[method](...args);
    } catch (error) {
      throw this.thrown(method, method === "reset" || method === "restore" ? [] : args, error);
    }
  }

  /** What a promise resolves to, read, within the time that there is. */
  private async answer<T>(
    method: Method,
    args: unknown[],
    promise: PromiseLike<unknown>,
    read: (value: unknown) => T,
    seconds = this.timeout,
  ): Promise<T> {
    let value: unknown;
    try {
      value = await withinTime(promise, seconds);
    } catch (error) {
      throw this.thrown(method, args, error);
    }
    if (value !== LATE) return read(value);
    throw this.failure(
      `${call(method, args)} has not answered for ${seconds} s`,
      "environment.timeout is how long an answer may take, in seconds; null: any time",
    );
  }

  private thrown(method: Method, args: unknown[], error: unknown): unknown {
    if (error instanceof SpaError) return error;
    if (typeof this.inner[method] !== "function") {
      return this.failure(`${method} is not a function`, hints[method]);
    }
    return this.failure(`${call(method, args)} threw: ${shownError(error)}`, hints[method], error);
  }

  private wrong(method: Method, args: unknown[], value: unknown, wanted: string): never {
    disregard(value);
    throw this.failure(`${call(method, args)} returned ${shownValue(value)}, not ${wanted}`, hints[method]);
  }

  private failure(problem: string, hint: string, cause?: unknown): SpaError {
    const { seed, level } = this.place ?? {};
    const places = [
      ...(seed !== undefined
        ? [`level seed ${seed}`]
        : level !== undefined
          ? [`level ${shownValue(level)}`]
          : []),
      ...(this.turn !== null ? [`turn ${this.turn}`] : []),
    ];
    const where = places.length > 0 ? ` at ${places.join(", ")}` : "";
    return new SpaError("BAD_ENVIRONMENT", `${this.name}${where}: ${problem}`, { hint, cause });
  }
}

function call(method: Method, args: readonly unknown[]): string {
  return `${method}(${args.map(shownValue).join(", ")})`;
}
