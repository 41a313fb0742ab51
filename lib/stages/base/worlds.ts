import { createEnvironment } from "../../../envs/index.ts";
import type { Config } from "../../config/schema.ts";
import { EnvironmentPool } from "../../rollout/environment-pool.ts";
import { type Level, splitLevels } from "../../rollout/levels.ts";
import type { StageContext } from "../context.ts";
import { trainingLevels } from "../training-levels.ts";

/** A kind of environment that the base's traces are played in. */
export interface World {
  name: string;
  environments: EnvironmentPool;
  levels: Level[];
}

type WorldContext = Pick<StageContext, "environments" | "split"> & {
  config: Config;
  signal?: AbortSignal | undefined;
};

/**
 * The worlds that the base learns: the run's own, then those of `base.also`. Each has levels of the same seeds, under the same
 * conditions, without the contents of the test and tuning levels that a run there would have with the same settings.
 */
export class Worlds implements AsyncDisposable {
  readonly all: World[] = [];
  /** The environments that are not the context's own. */
  readonly #opened: EnvironmentPool[] = [];

  private constructor() {}

  /** @param count levels of each world @throws SpaError UNKNOWN_NAME, BAD_ARGUMENT (an environment of `base.also`), BAD_CONFIG (no levels) */
  static async open(context: WorldContext, count: number): Promise<Worlds> {
    const worlds = new Worlds();
    try {
      await worlds.#add(context.config.environment.name, context, count);
      for (const { name, options } of context.config.base.also) {
        const { timeout } = context.config.environment;
        const environments = new EnvironmentPool(() => createEnvironment(name, options), { timeout });
        worlds.#opened.push(environments);
        const drawing = environments.acquire();
        const split = await splitLevels(drawing, context.config.levels, context.signal);
        environments.release(drawing);
        await worlds.#add(name, { ...context, environments, split }, count);
      }
      return worlds;
    } catch (error) {
      await worlds[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #add(name: string, context: WorldContext, count: number): Promise<void> {
    const levels = await trainingLevels(context, { kind: "base" }).take(count, context.signal);
    this.all.push({ name, environments: context.environments, levels });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const environments of this.#opened) await environments.close();
  }
}
