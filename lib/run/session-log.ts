import { z } from "zod";
import { JsonLines } from "../files/json-lines.ts";

/** Numbers that repeat: each with how often it comes in a row. */
type Runs = [value: number, count: number][];

/**
 * What an agent that lives elsewhere sampled of a served policy, and the reward that it got: exactly the tokens that the model saw
 * and sampled.
 */
export interface RecordedSession {
  /** The id that the agent gave it. */
  session: string;
  /** Sessions of a group had the same task: they are compared with each other. Null: a group of its own. */
  group: string | null;
  reward: number;
  /** The served model, and what its weights were at the first call. */
  model: string;
  checkpoint: string;
  /** Of all calls. */
  temperature: number;
  tokens: number[];
  /** A `Role` for each token, run by run; likewise 1 where the model sampled it. */
  roles: Runs;
  sampled: Runs;
  /** Log p of each sampled token in order, under the policy and temperature that sampled it. */
  logProbs: number[];
  /** First token of each forward segment: a call that does not go on with the one before begins another. */
  segments: number[];
  /** Each call's sampled tokens: the first, and one past the last. */
  turns: [begin: number, end: number][];
}

const place = z.int().min(0);
const runs = z.array(z.tuple([place, z.int().min(1)]));

const schema: z.ZodType<RecordedSession> = z.object({
  session: z.string(),
  group: z.string().nullable(),
  reward: z.number(),
  model: z.string(),
  checkpoint: z.string(),
  temperature: z.number().min(0),
  tokens: z.array(place),
  roles: runs,
  sampled: runs,
  logProbs: z.array(z.number()),
  segments: z.array(place),
  turns: z.array(z.tuple([place, place])),
});

/** A file of sessions, one a line. */
export class SessionLog {
  readonly #lines: JsonLines<RecordedSession>;

  constructor(path: string) {
    this.#lines = new JsonLines(path, schema);
  }

  get path(): string {
    return this.#lines.path;
  }

  /** @throws SpaError DISK_FULL, FILE_FAILED */
  append(session: RecordedSession): void {
    this.#lines.append(session);
  }

  /** @throws SpaError BAD_CHECKPOINT, by line and field, FILE_FAILED */
  read(): RecordedSession[] {
    return this.#lines.read();
  }

  /** Cuts a line that a process left torn. */
  repair(): void {
    this.#lines.repair();
  }

  close(): void {
    this.#lines.close();
  }
}

/** `values` run by run. */
export function runsOf(values: ArrayLike<number>): Runs {
  const found: Runs = [];
  for (let index = 0; index < values.length; index++) {
    const last = found.at(-1);
    if (last?.[0] === values[index]) last[1]++;
    else found.push([values[index], 1]);
  }
  return found;
}

/** What {@link runsOf} was given. */
export function ofRuns(found: Runs): Uint8Array {
  const values = new Uint8Array(found.reduce((sum, [, count]) => sum + count, 0));
  let begin = 0;
  for (const [value, count] of found) {
    values.fill(value, begin, begin + count);
    begin += count;
  }
  return values;
}
