import type { TokenPiece } from "../text/conversation.ts";
import type { StateText } from "../text/state-text.ts";

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

/** A trajectory that is being put together from pieces. */
export class TrajectoryTokens {
  length = 0;
  readonly segments: number[] = [];
  readonly #pieces: (TokenPiece & { logProbs?: Float32Array })[] = [];

  /** The next token starts a forward segment. */
  beginSegment(): void {
    this.segments.push(this.length);
  }

  /** Appends text, or, with their log-probs, tokens that the model sampled. The arrays must stay as they are until {@link finish}. */
  append(piece: TokenPiece & { logProbs?: Float32Array }): void {
    this.#pieces.push(piece);
    this.length += piece.tokens.length;
  }

  finish(): Pick<Trajectory, "tokens" | "roles" | "sampled" | "logProbs" | "segments"> {
    const tokens = new Int32Array(this.length);
    const roles = new Uint8Array(this.length);
    const sampled = new Uint8Array(this.length);
    const logProbs = new Float32Array(this.length);
    let begin = 0;
    for (const piece of this.#pieces) {
      const end = begin + piece.tokens.length;
      tokens.set(piece.tokens, begin);
      roles.set(piece.roles, begin);
      if (piece.logProbs) {
        logProbs.set(piece.logProbs, begin);
        sampled.fill(1, begin, end);
      }
      begin = end;
    }
    return { tokens, roles, sampled, logProbs, segments: this.segments };
  }
}

/** Number of tokens that the model sampled. */
export function sampledTokens(trajectories: readonly Trajectory[]): number {
  let count = 0;
  for (const { sampled } of trajectories) {
    for (let index = 0; index < sampled.length; index++) count += sampled[index];
  }
  return count;
}
