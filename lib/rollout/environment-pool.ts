import type { Environment } from "../../envs/environment.ts";
import { createGuarded, type GuardedEnvironment, type GuardOptions, guard } from "../../envs/guard.ts";

/** Environment objects, made when needed, used again, and closed together. Each is behind its guard. */
export class EnvironmentPool implements AsyncDisposable {
  readonly #create: () => Environment;
  readonly #options: GuardOptions;
  readonly #made = new Set<GuardedEnvironment>();
  readonly #idle: GuardedEnvironment[] = [];

  constructor(create: () => Environment, options: GuardOptions = {}) {
    this.#create = create;
    this.#options = options;
  }

  /**
   * An environment that nobody else uses until it is released.
   *
   * @throws SpaError BAD_ENVIRONMENT when what `create` makes is none, or one that it made before
   */
  acquire(): GuardedEnvironment {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    const environment = createGuarded(this.#create, "the environment", this.#options);
    if (this.#made.has(environment)) {
      throw environment.fault(
        "create() returned the same object twice; two episodes cannot share one",
        "reset",
      );
    }
    this.#made.add(environment);
    return environment;
  }

  release(environment: Environment): void {
    this.#idle.push(guard(environment));
  }

  /**
   * Closes every environment that was made, whatever it was doing.
   *
   * @returns what went wrong with that: by then the work is done, or has failed for a better reason
   */
  async close(): Promise<unknown[]> {
    const closing = [...this.#made].map((environment) => environment.close());
    this.#made.clear();
    this.#idle.length = 0;
    const outcomes = await Promise.allSettled(closing);
    return outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
