import { z } from "zod";
import { JsonLines, type LoggedRow } from "../files/json-lines.ts";
import type { Trajectory, Turn } from "../rollout/trajectory.ts";

/** How many of a step's trajectories are logged when the caller does not say: enough to look at, bounded in size. */
const trajectoriesPerStep = 8;

/** What the log keeps of a turn: everything but the user's message, which stands in the tokens. */
export type LoggedTurn = Omit<Turn, "message">;

/** A run of tokens with one role: role (a number of lib/text/roles), sampled or not, number of tokens, their text. */
type LoggedPiece = [role: number, sampled: 0 | 1, tokens: number, text: string];

/** One line of trajectories/<stage>.jsonl. */
export interface LoggedTrajectory {
  step: number;
  id: number;
  group: number;
  seed: number;
  totalReward: number;
  success: boolean;
  finish: string;
  distance: number | null;
  /** Start of each forward segment (more than one where each turn has a prompt of its own). */
  segments: number[];
  turns: LoggedTurn[];
  tokens: number[];
  /** The text of all tokens, cut where the role or `sampled` changes; the counts add up to `tokens.length`. */
  pieces: LoggedPiece[];
  /** Log-probability of each sampled token in order, to three decimals. */
  logProbs: number[];
}

const state = z.object({ grid: z.string(), structured: z.string() });
const place = z.int().min(0);

const turnSchema = z.object({
  begin: place,
  end: place,
  reward: z.number(),
  valid: z.boolean(),
  invalidReason: z.string().optional(),
  actions: z.array(z.string()),
  executed: z.int().min(0),
  stateBefore: state,
  stateAfter: state,
  observation: z.string().optional(),
  prediction: z.string().optional(),
  effective: z.boolean(),
});

const trajectorySchema: z.ZodType<LoggedTrajectory> = z.object({
  step: z.int(),
  id: z.int(),
  group: z.int(),
  seed: z.int(),
  totalReward: z.number(),
  success: z.boolean(),
  finish: z.string(),
  distance: z.number().nullable(),
  segments: z.array(place),
  turns: z.array(turnSchema),
  tokens: z.array(z.int()),
  pieces: z.array(z.tuple([z.int(), z.union([z.literal(0), z.literal(1)]), place, z.string()])),
  logProbs: z.array(z.number()),
});

/** What a list shows of a logged trajectory, and where its line stands. */
export interface TrajectoryEntry
  extends Pick<LoggedTrajectory, "step" | "seed" | "distance" | "totalReward" | "success" | "finish"> {
  turns: number;
  line: LoggedRow<LoggedTrajectory>["line"];
}

export interface TrajectoryLogOptions {
  /** Token ids to text, e.g. a tokenizer's `decode`. */
  decode: (ids: Int32Array) => string;
  /** Most trajectories logged of this call; they are taken at even distances, so from different groups. */
  limit?: number;
}

function piecesOf(trajectory: Trajectory, decode: TrajectoryLogOptions["decode"]): LoggedPiece[] {
  const { tokens, roles, sampled, segments } = trajectory;
  const starts = new Set(segments);
  const pieces: LoggedPiece[] = [];
  let begin = 0;
  for (let end = 1; end <= tokens.length; end++) {
    const same = end < tokens.length && roles[end] === roles[begin] && sampled[end] === sampled[begin];
    if (same && !starts.has(end)) continue;
    pieces.push([roles[begin], sampled[begin] ? 1 : 0, end - begin, decode(tokens.subarray(begin, end))]);
    begin = end;
  }
  return pieces;
}

/** A trajectory in the form in which it is logged and shown. */
function logTrajectory(
  step: number,
  trajectory: Trajectory,
  decode: TrajectoryLogOptions["decode"],
): LoggedTrajectory {
  const { id, group, seed, totalReward, success, finish, distance, segments, turns } = trajectory;
  const sampledLogProbs = [...trajectory.logProbs].filter((_, index) => trajectory.sampled[index]);
  return {
    step,
    id,
    group,
    seed,
    totalReward,
    success,
    finish,
    distance,
    segments: [...segments],
    turns: turns.map(({ message: _, ...turn }) => turn),
    tokens: [...trajectory.tokens],
    pieces: piecesOf(trajectory, decode),
    logProbs: sampledLogProbs.map((value) => Math.round(value * 1000) / 1000),
  };
}

/** A stage's trajectories/<stage>.jsonl. */
export class TrajectoryLog {
  readonly #lines: JsonLines<LoggedTrajectory>;
  /** What {@link TrajectoryLog.index} has read so far. */
  #index: TrajectoryEntry[] = [];

  constructor(path: string) {
    this.#lines = new JsonLines(path, trajectorySchema);
  }

  get path(): string {
    return this.#lines.path;
  }

  /**
   * Logs up to `limit` (default {@link trajectoriesPerStep}) of a step's trajectories.
   *
   * @returns what is logged
   */
  append(
    step: number,
    trajectories: readonly Trajectory[],
    options: TrajectoryLogOptions,
  ): LoggedTrajectory[] {
    const count = Math.min(options.limit ?? trajectoriesPerStep, trajectories.length);
    const chosen = Array.from(
      { length: count },
      (_, k) => trajectories[Math.floor((k * trajectories.length) / count)],
    );
    const logged = chosen.map((trajectory) => logTrajectory(step, trajectory, options.decode));
    this.#lines.append(...logged);
    return logged;
  }

  /** Drops what was logged after `step`; -1 drops everything. */
  truncateAfter(step: number): void {
    this.#index = [];
    this.#lines.filter((row) => row.step <= step);
  }

  read(): LoggedTrajectory[] {
    return this.#lines.read();
  }

  /**
   * What there is, in the order of the log: a few figures a trajectory, for the file may be larger than memory. Asked again,
   * it reads what has been added.
   */
  index(): readonly TrajectoryEntry[] {
    const known = this.#index.at(-1)?.line;
    if (known && this.#lines.size < known.end) this.#index = [];
    for (const { row, line } of this.#lines.entries(this.#index.at(-1)?.line)) {
      const { step, seed, distance, totalReward, success, finish, turns } = row;
      const place = { number: line.number, begin: line.begin, end: line.end };
      this.#index.push({
        step,
        seed,
        distance,
        totalReward,
        success,
        finish,
        turns: turns.length,
        line: place,
      });
    }
    return this.#index;
  }

  /** The trajectory of an entry of {@link TrajectoryLog.index}. */
  at({ line }: TrajectoryEntry): LoggedTrajectory {
    return this.#lines.at(line);
  }

  /** See {@link JsonLines.repair}. */
  repair(): void {
    this.#lines.repair();
  }

  sync(): void {
    this.#lines.sync();
  }

  close(): void {
    this.#lines.close();
  }
}
