import type { Environment, Json, ResetOptions, StepResult } from "../../envs/environment.ts";
import { registerEnvironment } from "../../envs/index.ts";
import { SpaError } from "../errors.ts";
import {
  describeRemote,
  OpenEnvConnection,
  type RemoteDescription,
  type RemoteObservation,
  RemoteRefusal,
} from "./openenv-connection.ts";

export interface OpenEnvOptions {
  /** The server's address: `http://host:port`. */
  url: string;
  /** The field of an action that takes what the agent writes; by default the one that its schema has. */
  actionField?: string;
  /** The field of an observation that the agent sees; by default its one text, else all of it as JSON. */
  observationField?: string;
  /** The task in words; by default what the server says of itself. */
  instructions?: string;
  /** Names of the actions; by default those that the action's schema lists, else any text. */
  actions?: string[];
}

/** The name under which such environments are registered. */
export const openEnvName = "openenv";

/** Where an episode stands: it is played again from its beginning to come back there. */
interface RemoteState {
  seed: number;
  actions: string[];
  shown: string;
  over: boolean;
}

/**
 * An environment on an OpenEnv server (github.com/meta-pytorch/OpenEnv): one session of its own, over a WebSocket.
 *
 * Levels are seeds, and the server must come to the same state from the same seed: a level's text stands for the seed that has given
 * it in this process. `restore` plays an episode again. The task counts as solved where an episode ends with a reward above 0.
 */
export class OpenEnvEnvironment implements Environment {
  readonly name = openEnvName;
  readonly #options: OpenEnvOptions;
  #connection: OpenEnvConnection | undefined;
  #description: RemoteDescription | undefined;
  #actions: readonly string[];
  #episode: RemoteState | undefined;
  /** The server stands elsewhere: the episode has to be played again before the next step. */
  #isAway = false;

  /** @throws SpaError BAD_ARGUMENT */
  constructor(options: Record<string, unknown>) {
    this.#options = checkOptions(options);
    this.#actions = this.#options.actions ?? [];
  }

  get actions(): readonly string[] {
    return this.#actions;
  }

  instructions(): string {
    return this.#options.instructions ?? this.#description?.description ?? "";
  }

  async reset({ seed: given, level }: ResetOptions): Promise<string> {
    const starts = startsOf(this.#options.url);
    const seed = (level === undefined ? undefined : starts.get(level)) ?? given;
    if (seed === undefined) {
      throw new SpaError("BAD_LEVEL", "a remote environment has no such level that a seed has given before", {
        hint: "name a level by its seed",
      });
    }
    await this.#describe();
    const { observation } = await this.#send((connection) => connection.reset({ seed }), "reset");
    const shown = this.#text(observation);
    if (!starts.has(shown)) starts.set(shown, seed);
    this.#episode = { seed, actions: [], shown, over: false };
    this.#isAway = false;
    return shown;
  }

  async step(action: string): Promise<StepResult> {
    const episode = this.#episode;
    if (episode === undefined || episode.over) {
      throw new SpaError("EPISODE_OVER", "the episode is over, or was never started", {
        hint: "reset it first",
      });
    }
    if (this.#isAway) await this.#playAgain(episode);
    let result: RemoteObservation;
    try {
      result = await this.#send((connection) => connection.step(this.#action(action)), "step");
    } catch (error) {
      if (!(error instanceof RemoteRefusal)) throw error;
      const info = { valid: false, effective: false, success: false };
      return { observation: episode.shown, reward: 0, terminated: false, truncated: false, info };
    }
    const shown = this.#text(result.observation);
    const reward = Number(result.reward ?? 0);
    const info = { valid: true, effective: shown !== episode.shown, success: result.done && reward > 0 };
    this.#episode = { ...episode, actions: [...episode.actions, action], shown, over: result.done };
    return { observation: shown, reward, terminated: result.done, truncated: false, info };
  }

  render(): string {
    return this.#episode?.shown ?? "";
  }

  state(): Json {
    return (this.#episode ?? null) as unknown as Json;
  }

  restore(state: Json): void {
    this.#episode = (state ?? undefined) as unknown as RemoteState | undefined;
    this.#isAway = true;
  }

  close(): void {
    this.#connection?.close();
  }

  async #describe(): Promise<void> {
    if (this.#description) return;
    const { url, actions } = this.#options;
    this.#description = await describeRemote(url);
    const field = this.#actionField();
    const listed = this.#description.action[field]?.enum?.map(String);
    if (actions === undefined && listed !== undefined) this.#actions = listed;
  }

  /** The field of an action that takes the agent's text. @throws SpaError BAD_ARGUMENT where that is not plain */
  #actionField(): string {
    const { actionField, url } = this.#options;
    const fields = Object.keys(this.#description!.action);
    const field = actionField ?? (fields.length === 1 ? fields[0] : undefined);
    if (field !== undefined && fields.includes(field)) return field;
    const what = actionField === undefined ? "several fields" : `no field "${actionField}"`;
    throw new SpaError("BAD_ARGUMENT", `actions of ${url} have ${what}: ${fields.join(", ") || "none"}`, {
      hint: "name the one that the agent writes: environment.options.actionField=<name>",
    });
  }

  #action(text: string): Record<string, unknown> {
    const field = this.#actionField();
    const { type } = this.#description!.action[field] ?? {};
    const isNumber =
      (type === "integer" || type === "number") && text.trim() !== "" && Number.isFinite(Number(text));
    return { [field]: isNumber ? Number(text) : text };
  }

  #text(observation: RemoteObservation["observation"]): string {
    const { observationField, url } = this.#options;
    const { metadata: _, ...fields } = observation;
    const texts = Object.entries(fields).filter(([, value]) => typeof value === "string");
    if (observationField === undefined) {
      return texts.length === 1 ? String(texts[0][1]) : JSON.stringify(fields);
    }
    if (Object.hasOwn(fields, observationField)) {
      const value = fields[observationField];
      return typeof value === "string" ? value : JSON.stringify(value);
    }
    throw new SpaError("BAD_ENVIRONMENT", `observations of ${url} have no field "${observationField}"`, {
      hint: `they have ${Object.keys(fields).join(", ")}`,
    });
  }

  async #playAgain({ seed, actions }: RemoteState): Promise<void> {
    await this.#send((connection) => connection.reset({ seed }), "reset");
    for (const action of actions)
      await this.#send((connection) => connection.step(this.#action(action)), "step");
    this.#isAway = false;
  }

  async #send<T>(ask: (connection: OpenEnvConnection) => Promise<T>, what: "reset" | "step"): Promise<T> {
    if (this.#connection === undefined || (this.#connection.hasEnded && what === "reset"))
      this.#connection = new OpenEnvConnection(this.#options.url);
    try {
      return await ask(this.#connection);
    } catch (error) {
      if (!(error instanceof RemoteRefusal)) throw error;
      if (what === "step" && error.code === "VALIDATION_ERROR") throw error;
      throw new SpaError("BAD_ENVIRONMENT", `${this.#options.url} refused to ${what}: ${error.message}`, {
        hint: `its code is ${error.code}; a server keeps a limited number of sessions (engine.rolloutSlots)`,
        cause: error,
      });
    }
  }
}

/** Seeds by the text that they begin with, for each server. */
const starts = new Map<string, Map<string, number>>();

function startsOf(url: string): Map<string, number> {
  const known = starts.get(url) ?? new Map<string, number>();
  starts.set(url, known);
  return known;
}

const known: Readonly<Record<keyof OpenEnvOptions, (value: unknown) => boolean>> = {
  url: isUrl,
  actionField: isText,
  observationField: isText,
  instructions: isText,
  actions: (value) => Array.isArray(value) && value.every(isText),
};

function isText(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

function isUrl(value: unknown): boolean {
  return typeof value === "string" && /^https?:\/\//.test(value) && URL.canParse(value);
}

function checkOptions(options: Record<string, unknown>): OpenEnvOptions {
  for (const [name, value] of Object.entries(options)) {
    const check = Object.hasOwn(known, name) ? known[name as keyof OpenEnvOptions] : undefined;
    if (check === undefined) {
      throw new SpaError("UNKNOWN_NAME", `${openEnvName} has no option "${name}"`, {
        hint: `options: ${Object.keys(known).join(", ")}`,
      });
    }
    if (check(value)) continue;
    throw new SpaError("BAD_ARGUMENT", `${openEnvName}: ${name} is ${JSON.stringify(value)}`, {
      hint: "url is http://host:port; actions is a list of texts; the others are texts",
    });
  }
  if (options.url !== undefined) return options as unknown as OpenEnvOptions;
  throw new SpaError("BAD_ARGUMENT", `${openEnvName} needs the address of its server`, {
    hint: "--env http://localhost:8000, or environment.options.url",
  });
}

registerEnvironment(openEnvName, (options) => new OpenEnvEnvironment(options), {
  description: "an environment on an OpenEnv server, named by --env http://host:port",
});
