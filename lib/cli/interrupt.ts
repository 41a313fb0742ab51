/** Signals that mean "stop": Ctrl-C, `kill`, a closed terminal. */
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Milliseconds in which a second signal is the same key press: npm passes on what the terminal has sent as well. */
const samePress = 500;

export interface Interruption extends Disposable {
  /** Fires at the first signal. */
  readonly signal: AbortSignal;
}

/**
 * Turns the first Ctrl-C (or `kill`) into an AbortSignal, so that work stops at its next safe point; the second ends
 * the process at once, which a run folder survives.
 *
 * @param onFirst told the signal's name at the first
 * @param onSecond told before the process ends
 */
export function interruptible(onFirst: (name: string) => void, onSecond: () => void): Interruption {
  const controller = new AbortController();
  let pressed = 0;
  const handler = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) {
      if (performance.now() - pressed < samePress) return;
      onSecond();
      process.exit(130);
    }
    pressed = performance.now();
    controller.abort(new Error(`interrupted by ${name}`));
    onFirst(name);
  };
  for (const name of signals) process.on(name, handler);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      // An interrupted process is about to end; a second press finds the handler until then.
      if (controller.signal.aborted) return;
      for (const name of signals) process.off(name, handler);
    },
  };
}
