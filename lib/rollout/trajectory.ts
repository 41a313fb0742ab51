import type { Role } from "../text/roles.ts";

/** A state in both renderings. */
export interface StateText {
  grid: string;
  structured: string;
}

/** One turn of the agent and what came of it. */
export interface Turn {
  /** The user message that the turn answers. */
  message: string;
  /** First token of the agent's reply; a forced `<think>` comes before it. */
  begin: number;
  /** One past the last token that the model sampled in this turn, the end token included. */
  end: number;
  /** Environment rewards of the executed actions, and the format penalty. */
  reward: number;
  /** The answer was well-formed and held at least one known action. */
  valid: boolean;
  invalidReason?: string;
  /** What the answer asked for, in the environment's spelling. */
  actions: string[];
  /** How many of them were carried out. */
  executed: number;
  stateBefore: StateText;
  stateAfter: StateText;
  /** Text inside `<observation>` and `<prediction>`, if there was any. */
  observation?: string;
  prediction?: string;
  /** The state changed in this turn. */
  effective: boolean;
}

/**
 * Why a trajectory ended: `terminated` and `truncated` come from the environment, `turns`, `actions` and `context` are
 * the protocol's limits.
 */
export type Finish = "terminated" | "truncated" | "turns" | "actions" | "context";

/** An episode as the exact tokens that the model saw and sampled. All arrays are as long as `tokens`. */
export interface Trajectory {
  /** Unique within a stage; the key of its random stream. */
  id: number;
  /** Trajectories of a group play the same level. */
  group: number;
  /** Seed of the level. */
  seed: number;
  tokens: Int32Array;
  /** A `Role` for each token. */
  roles: Uint8Array;
  /** 1 where the model sampled the token. */
  sampled: Uint8Array;
  /** log p of each sampled token under the policy and temperature that sampled it; 0 elsewhere. */
  logProbs: Float32Array;
  /** First token of each forward segment: one for context `episode`, one a turn for context `turn`. */
  segments: number[];
  turns: Turn[];
  totalReward: number;
  success: boolean;
  finish: Finish;
  /** Length of a shortest solution at the start; null where the environment cannot tell or there is none. */
  distance: number | null;
}

/** The growing arrays of a trajectory that is being collected. */
export class TrajectoryTokens {
  length = 0;
  readonly segments: number[] = [];
  #tokens = new Int32Array(256);
  #roles = new Uint8Array(256);
  #sampled = new Uint8Array(256);
  #logProbs = new Float32Array(256);

  /** The next token starts a forward segment. */
  beginSegment(): void {
    this.segments.push(this.length);
  }

  /** Appends text that the model did not sample. */
  appendText(tokens: ArrayLike<number>, role: Role | ArrayLike<number>): void {
    const begin = this.#reserve(tokens.length);
    this.#tokens.set(tokens, begin);
    if (typeof role === "number") this.#roles.fill(role, begin, this.length);
    else this.#roles.set(role, begin);
  }

  /** Appends sampled tokens with their log-probs. */
  appendSampled(tokens: Int32Array, roles: Uint8Array, logProbs: Float32Array): void {
    const begin = this.#reserve(tokens.length);
    this.#tokens.set(tokens, begin);
    this.#roles.set(roles, begin);
    this.#logProbs.set(logProbs, begin);
    this.#sampled.fill(1, begin, this.length);
  }

  /** The arrays, cut to size. */
  finish(): Pick<Trajectory, "tokens" | "roles" | "sampled" | "logProbs" | "segments"> {
    return {
      tokens: this.#tokens.slice(0, this.length),
      roles: this.#roles.slice(0, this.length),
      sampled: this.#sampled.slice(0, this.length),
      logProbs: this.#logProbs.slice(0, this.length),
      segments: this.segments,
    };
  }

  /** Makes room for `count` more tokens; returns where they start. */
  #reserve(count: number): number {
    const begin = this.length;
    this.length += count;
    if (this.length > this.#tokens.length) {
      const capacity = Math.max(this.length, 2 * this.#tokens.length);
      this.#tokens = grown(this.#tokens, new Int32Array(capacity));
      this.#roles = grown(this.#roles, new Uint8Array(capacity));
      this.#sampled = grown(this.#sampled, new Uint8Array(capacity));
      this.#logProbs = grown(this.#logProbs, new Float32Array(capacity));
    }
    return begin;
  }
}

function grown<T extends Int32Array | Uint8Array | Float32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** Number of tokens that the model sampled. */
export function sampledTokens(trajectories: readonly Trajectory[]): number {
  let count = 0;
  for (const { sampled } of trajectories) {
    for (let index = 0; index < sampled.length; index++) count += sampled[index];
  }
  return count;
}
