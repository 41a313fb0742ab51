import type { MetricsRow } from "../run/metrics.ts";
import type { RunObserver } from "../run/run-observer.ts";

/** Hands what a run logs to a program that shows runs. */
export interface Tracker extends RunObserver {
  /** Waits for what is under way, and lets go of what is open. */
  close(): Promise<void> | void;
}

/**
 * A service that takes rows of metrics, and keeps what it has taken. It is given rows only once they stand in a checkpoint (or
 * their stage has ended): a resume drops none of them, so none is sent twice.
 */
export interface RowSink {
  /** Takes rows in order. @throws Error when it has not taken them; then they come again, with those after them */
  send(rows: readonly MetricsRow[]): Promise<void>;
  /** @param isDone all stages of the run have ended */
  close(isDone: boolean): Promise<void>;
}
