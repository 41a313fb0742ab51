import { TrajectoryTokens } from "../rollout/trajectory.ts";
import { type RecordedSession, runsOf, type SessionLog } from "../run/session-log.ts";
import type { TokenPiece } from "../text/conversation.ts";
import { joined } from "../typed-arrays.ts";
import { HttpError } from "./http-error.ts";

/** A call of a session. */
export interface SessionCall {
  model: string;
  checkpoint: string;
  temperature: number;
  prompt: TokenPiece;
  /** What was sampled. */
  reply: TokenPiece & { logProbs: Float32Array };
}

/** Sessions without a reward, and ids of those with one, that are remembered: beyond them the oldest go. */
const MOST_OPEN = 10_000;
const MOST_CLOSED = 100_000;

/** A session under way. */
class OpenSession {
  readonly model: string;
  readonly checkpoint: string;
  readonly temperature: number;
  readonly #tokens = new TrajectoryTokens();
  readonly #turns: [number, number][] = [];
  readonly #logProbs: number[] = [];
  /** The segment under way. */
  #sequence: Int32Array = new Int32Array(0);

  constructor({ model, checkpoint, temperature }: SessionCall) {
    this.model = model;
    this.checkpoint = checkpoint;
    this.temperature = temperature;
  }

  /** A call that goes on with the one before adds its new tokens alone. */
  add({ prompt, reply }: SessionCall): void {
    const held = this.#sequence.length;
    const goesOn = held > 0 && this.#sequence.every((token, index) => token === prompt.tokens[index]);
    if (!goesOn) this.#tokens.beginSegment();
    const from = goesOn ? held : 0;
    this.#tokens.append({ tokens: prompt.tokens.subarray(from), roles: prompt.roles.subarray(from) });
    const begin = this.#tokens.length;
    this.#tokens.append(reply);
    this.#turns.push([begin, this.#tokens.length]);
    this.#logProbs.push(...reply.logProbs);
    this.#sequence = joined(Int32Array, [prompt.tokens, reply.tokens]);
  }

  finish(session: string, group: string | null, reward: number): RecordedSession {
    const { tokens, roles, sampled, segments } = this.#tokens.finish();
    const { model, checkpoint, temperature } = this;
    return {
      ...{ session, group, reward, model, checkpoint, temperature },
      ...{ tokens: Array.from(tokens), roles: runsOf(roles), sampled: runsOf(sampled) },
      ...{ logProbs: this.#logProbs, segments, turns: this.#turns },
    };
  }
}

/** What agents that live elsewhere sample, by their session ids, until each session has its reward. */
export class SessionRecorder {
  readonly #log: SessionLog | undefined;
  readonly #open = new Map<string, OpenSession>();
  readonly #closed = new Set<string>();
  #finished: RecordedSession[] = [];

  /** @param log where sessions are written when they have their reward; without one they wait for {@link take} */
  constructor(log?: SessionLog) {
    this.#log = log;
  }

  /** @throws HttpError 409 where the session cannot take a call */
  check(session: string, temperature: number): void {
    if (this.#closed.has(session)) throw closed(session);
    const open = this.#open.get(session);
    if (open === undefined || open.temperature === temperature) return;
    const message = `session "${session}" samples at temperature ${open.temperature}, not ${temperature}: what it learns from has one`;
    throw new HttpError(409, message, { param: "temperature", code: "session_temperature" });
  }

  /** Notes a call that has ended. */
  record(session: string, call: SessionCall): void {
    if (this.#closed.has(session)) return;
    const open = this.#open.get(session) ?? new OpenSession(call);
    open.add(call);
    // The one that was used last stands last.
    this.#open.delete(session);
    this.#open.set(session, open);
    if (this.#open.size > MOST_OPEN) this.#open.delete(this.#open.keys().next().value!);
  }

  /**
   * Gives a session its reward, which ends it.
   *
   * @throws HttpError 404 for a session without calls, 409 for one that has its reward; SpaError DISK_FULL, FILE_FAILED
   */
  reward(session: string, reward: number, group: string | null): RecordedSession {
    if (this.#closed.has(session)) throw closed(session);
    const open = this.#open.get(session);
    if (open === undefined) {
      const message = `no call of session "${session}" is known`;
      throw new HttpError(404, message, { param: "session_id", code: "session_not_found" });
    }
    const recorded = open.finish(session, group, reward);
    this.#log?.append(recorded);
    this.#open.delete(session);
    this.#closed.add(session);
    if (this.#closed.size > MOST_CLOSED) this.#closed.delete(this.#closed.keys().next().value!);
    if (this.#log === undefined) this.#finished.push(recorded);
    return recorded;
  }

  /** The sessions that have their reward and have not been taken; none where they are written to a log. */
  take(): RecordedSession[] {
    return this.#finished.splice(0);
  }
}

function closed(session: string): HttpError {
  return new HttpError(409, `session "${session}" has its reward already`, {
    param: "session_id",
    code: "session_closed",
  });
}
