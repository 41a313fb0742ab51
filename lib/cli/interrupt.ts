// Ctrl-C, `kill` and a closed terminal. The first signal asks the work under way to stop at its next safe point, the second
// ends the process at once, which a run folder survives. There is one interruption in a process: what stops in order may
// consist of several parts (a model is fetched, a run is set up, stages train), and a signal between two of them counts too.
// Work that has nothing to bring in order never comes here: a signal ends it as the system does.

import { constants } from "node:os";

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

type StopSignal = (typeof signals)[number];

/** Milliseconds in which a second signal is the same key press: npm passes on what the terminal has sent as well. */
const samePress = 500;

/** What the user is told while a part of the work is under way. */
export interface InterruptionNotices {
  /** At the first signal. */
  first(): void;
  /** At the second, before the process ends. */
  second(): void;
}

/** The code that shells give a process which a signal has ended: 130 for Ctrl-C, 143 for `kill`. */
function exitCodeOf(name: StopSignal): number {
  return 128 + constants.signals[name];
}

const controller = new AbortController();
let firstSignal: { name: StopSignal; at: number } | undefined;
let notices: InterruptionNotices | undefined;
let isListening = false;

function onSignal(name: StopSignal): void {
  if (firstSignal) {
    if (performance.now() - firstSignal.at < samePress) return;
    notices?.second();
    process.exit(exitCodeOf(name));
  }
  firstSignal = { name, at: performance.now() };
  controller.abort(new Error(`interrupted by ${name}`));
  notices?.first();
}

/**
 * Does work that the first signal stops in order.
 *
 * @param work is given the AbortSignal that fires then; it has fired already if the signal came after an earlier part
 */
export async function untilInterrupted<T>(
  told: InterruptionNotices,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (!isListening) for (const name of signals) process.on(name, onSignal);
  isListening = true;
  notices = told;
  try {
    return await work(controller.signal);
  } finally {
    notices = undefined;
  }
}

/** The exit code of a process that a signal has stopped; undefined where none came. */
export function interruptionCode(): number | undefined {
  return firstSignal && exitCodeOf(firstSignal.name);
}
