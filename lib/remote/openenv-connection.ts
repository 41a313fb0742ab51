import { WebSocket } from "undici";
import { z } from "zod";
import { SpaError } from "../errors.ts";

/** What an OpenEnv server answers to `reset` and `step`. */
const observationSchema = z.object({
  observation: z.record(z.string(), z.json()),
  reward: z.union([z.number(), z.boolean()]).nullish(),
  done: z.boolean().default(false),
});

export type RemoteObservation = z.infer<typeof observationSchema>;

const answerSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("observation"), data: observationSchema }),
  z.object({ type: z.literal("state"), data: z.record(z.string(), z.json()) }),
  z.object({
    type: z.literal("error"),
    data: z.object({ message: z.string().default("no reason"), code: z.string().default("EXECUTION_ERROR") }),
  }),
]);

type Answer = z.infer<typeof answerSchema>;

/** Largest answer, in characters: what a server says is foreign. */
const LONGEST_ANSWER = 4 * 2 ** 20;

/** A server's refusal of one message; the session goes on. */
export class RemoteRefusal extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * A session with an OpenEnv server: a WebSocket at `/ws`, on which the server keeps one environment. Messages are answered in
 * order (OpenEnv, `openenv.core.env_server`: `reset`, `step`, `state`, `close`).
 */
export class OpenEnvConnection {
  readonly #url: string;
  readonly #socket: WebSocket;
  readonly #opened: Promise<void>;
  readonly #waiting: { resolve: (answer: Answer) => void; reject: (error: unknown) => void }[] = [];
  #ended: SpaError | undefined;

  /** @param url of the server, `http://host:port` */
  constructor(url: string) {
    this.#url = url;
    const address = new URL("ws", url.endsWith("/") ? url : `${url}/`);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    this.#socket = new WebSocket(address);
    this.#opened = new Promise((resolve, reject) => {
      this.#socket.addEventListener("open", () => resolve());
      this.#socket.addEventListener("close", ({ code, reason }) => {
        const why = reason || `code ${code}`;
        this.#end(`the connection to ${url} was closed (${why})`);
        reject(this.#ended);
      });
    });
    // Whoever sends something is told.
    this.#opened.catch(() => undefined);
    this.#socket.addEventListener("message", ({ data }) => this.#answered(data));
    this.#socket.addEventListener("error", () => this.#end(`there is no OpenEnv server at ${url}`));
  }

  get hasEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** @throws RemoteRefusal where the server refuses the message, SpaError BAD_ENVIRONMENT where it is gone or breaks the protocol */
  async reset(data: Record<string, unknown>): Promise<RemoteObservation> {
    return this.#observation(await this.#ask({ type: "reset", data }));
  }

  /** As {@link reset}. */
  async step(action: Record<string, unknown>): Promise<RemoteObservation> {
    return this.#observation(await this.#ask({ type: "step", data: action }));
  }

  close(): void {
    this.#end(`the session at ${this.#url} was closed`);
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type: "close" }));
    this.#socket.close();
  }

  async #ask(message: { type: string; data: Record<string, unknown> }): Promise<Answer> {
    await this.#opened;
    if (this.#ended) throw this.#ended;
    const answer = await new Promise<Answer>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket.send(JSON.stringify(message));
    });
    if (answer.type === "error") throw new RemoteRefusal(answer.data.code, answer.data.message);
    return answer;
  }

  #observation(answer: Answer): RemoteObservation {
    if (answer.type === "observation") return answer.data;
    throw broken(this.#url, `it answered with ${answer.type} where an observation was due`);
  }

  #answered(data: unknown): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return;
    try {
      waiting.resolve(this.#read(data));
    } catch (error) {
      waiting.reject(error);
    }
  }

  #read(data: unknown): Answer {
    if (typeof data !== "string" || data.length > LONGEST_ANSWER)
      throw broken(this.#url, "its answer is no text, or too long");
    const answer = answerSchema.safeParse(parsed(data));
    if (answer.success) return answer.data;
    const [{ path, message }] = answer.error.issues;
    throw broken(this.#url, `its answer's ${path.join(".") || "content"}: ${message}`);
  }

  #end(why: string): void {
    this.#ended ??= new SpaError("BAD_ENVIRONMENT", why, {
      hint: "start the environment's server, and name its address: --env http://localhost:8000",
    });
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function broken(url: string, what: string): SpaError {
  return new SpaError("BAD_ENVIRONMENT", `the server at ${url} does not speak OpenEnv's protocol: ${what}`, {
    hint: "docs/environments.md says what is spoken",
  });
}

/** What the server's `/schema` and `/metadata` say of its environment. */
export interface RemoteDescription {
  /** JSON schema of an action's properties, `metadata` apart, by name. */
  action: Record<string, { type?: string; enum?: unknown[] }>;
  /** The task in words; empty where it does not say. */
  description: string;
}

const schemaSchema = z.object({
  action: z.object({
    properties: z
      .record(z.string(), z.object({ type: z.string().optional(), enum: z.array(z.json()).optional() }))
      .default({}),
  }),
});
const metadataSchema = z.object({ description: z.string().default("") });

/** Asks a server what its environment takes. @throws SpaError BAD_ENVIRONMENT */
export async function describeRemote(url: string): Promise<RemoteDescription> {
  const base = url.endsWith("/") ? url : `${url}/`;
  const [schema, metadata] = await Promise.all([
    get(base, "schema"),
    get(base, "metadata").catch(() => ({})),
  ]);
  const known = schemaSchema.safeParse(schema);
  if (!known.success) throw broken(url, "its /schema has no action");
  const { metadata: _, ...action } = known.data.action.properties;
  return { action, description: metadataSchema.safeParse(metadata).data?.description ?? "" };
}

async function get(base: string, path: string): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(new URL(path, base), { redirect: "error", signal: AbortSignal.timeout(10_000) });
  } catch (cause) {
    throw new SpaError("BAD_ENVIRONMENT", `there is no OpenEnv server at ${base}`, {
      hint: "start the environment's server, and name its address: --env http://localhost:8000",
      cause,
    });
  }
  if (!response.ok) throw broken(base, `GET /${path} is answered with ${response.status}`);
  return parsed((await response.text()).slice(0, LONGEST_ANSWER));
}
