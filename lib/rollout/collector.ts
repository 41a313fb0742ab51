import type { Model } from "../engine/model.ts";
import type { Generated, Session } from "../engine/session.ts";
import { SpaError } from "../errors.ts";
import { joined } from "../typed-arrays.ts";
import { type Player, type PlayOptions, playTurns, type Speaker, type Speech } from "./player.ts";
import type { Trajectory } from "./trajectory.ts";

export interface CollectOptions extends PlayOptions {
  model: Model;
  temperature: number;
  /** Seed of the sampling streams. */
  seed: number;
}

/**
 * Plays every episode of `plays` with the model and returns the trajectories in the order of `plays`.
 *
 * All episodes under way take their turns together; whoever finishes hands its slot to the next in line, so that the
 * batch stays full. A group's first prompt is computed once and forked. Only new text is encoded and appended: what
 * the model has seen and sampled is never rendered again. Each trajectory samples from a random stream of its own
 * (`Play.id`), so neither the order of the plays nor the number of slots changes what it says (beyond float rounding).
 *
 * A turn begins only if its longest reply fits into the context; otherwise the trajectory ends as `context`.
 *
 * @throws SpaError ABORTED; CAPACITY when a first prompt leaves no room for a reply; BAD_ENVIRONMENT; NOT_FINITE when the
 *   model has diverged
 */
export async function collect(options: CollectOptions): Promise<Trajectory[]> {
  const slots = Math.min(options.slots, options.plays.length);
  if (slots === 0) return [];
  const { seed } = options;
  const { maxTokens } = options.protocol.settings;
  await using session = await options.model.openSession({ slots, maxTokens, seed });
  return await playTurns(new SampledSpeaker(session, options), { ...options, slots });
}

/** Samples replies in a session, in which each player has its slot. */
class SampledSpeaker implements Speaker {
  readonly #session: Session;
  readonly #options: CollectOptions;

  constructor(session: Session, options: CollectOptions) {
    this.#session = session;
    this.#options = options;
  }

  prepare({ held, play }: Player): SpaError | null {
    const { protocol } = this.#options;
    return protocol.fits(held) ? null : protocol.promptTooLong(held, `level seed ${play.level.seed}`);
  }

  async speak(players: readonly Player[]): Promise<Speech[]> {
    await this.#extend(players);
    const { tokens, logProbs, offsets } = await this.#generate(players);
    return players.map(({ episode }, row) => {
      const sampled = tokens.subarray(offsets[row], offsets[row + 1]);
      const { roles, parsed } = this.#options.protocol.read(sampled, episode.environment);
      const ownLogProbs = logProbs.subarray(offsets[row], offsets[row + 1]);
      return { tokens: sampled, roles, logProbs: ownLogProbs, reply: parsed };
    });
  }

  release(players: readonly Player[]): Promise<void> {
    return this.#session.release(players.map(({ slot }) => slot));
  }

  /** Brings every slot up to date; equal prompts of a group on empty slots are computed once and forked. */
  async #extend(players: readonly Player[]): Promise<void> {
    const rows: Player[] = [];
    const targets = new Map<Player, number[]>();
    let leaders: Player[] = [];
    for (const player of players) {
      if (this.#session.lengthOf(player.slot) > 0) {
        rows.push(player);
        continue;
      }
      // A group's plays stand next to each other.
      if (leaders[0]?.play.group !== player.play.group) leaders = [];
      const leader = leaders.find(({ prompt }) => sameTokens(prompt.tokens, player.prompt.tokens));
      if (leader) {
        targets.set(leader, [...(targets.get(leader) ?? []), player.slot]);
      } else {
        leaders.push(player);
        rows.push(player);
      }
    }
    const batch = packRows(rows.map(({ prompt }) => prompt.tokens));
    const { signal } = this.#options;
    await this.#session.extend(
      rows.map(({ slot }) => slot),
      batch,
      { signal },
    );
    await Promise.all([...targets].map(([leader, slots]) => this.#session.fork(leader.slot, slots)));
  }

  async #generate(players: readonly Player[]): Promise<Generated> {
    const { protocol, temperature, signal } = this.#options;
    const { context, maxNewTokens, maxTurns } = protocol.settings;
    const replies = await this.#session.generate(
      players.map(({ slot }) => slot),
      {
        maxNewTokens,
        temperature,
        stopTokens: protocol.chat.stopTokens,
        // With a prompt of its own for each turn, positions repeat: every turn needs a stream of its own too.
        streams: players.map(({ play, turns }) =>
          context === "episode" ? play.id : play.id * maxTurns + turns.length,
        ),
        signal,
      },
    );
    if (!replies.logProbs.every(Number.isFinite)) throw notFinite(players, replies);
    return replies;
  }
}

/** The weights are finite (updates see to that), and yet so large that the logits are not: training has diverged. */
function notFinite(players: readonly Player[], replies: Generated): SpaError {
  const entry = replies.logProbs.findIndex((value) => !Number.isFinite(value));
  const row = replies.offsets.findLastIndex((begin) => begin <= entry);
  const { play, turns } = players[row];
  const where = `turn ${turns.length + 1} of trajectory ${play.id}, level seed ${play.level.seed}`;
  return new SpaError(
    "NOT_FINITE",
    `the model gave a log-prob that is not a number at ${where}: training diverged`,
    {
      hint: "lower the learning rate (ppo.optimizer.learningRate) and start the stage again from its source: --redo <stage>",
    },
  );
}

function sameTokens(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((token, index) => token === b[index]);
}

/** Rows laid end to end. */
function packRows(rows: readonly Int32Array[]): { tokens: Int32Array; offsets: Uint32Array } {
  const offsets = new Uint32Array(rows.length + 1);
  for (const [index, row] of rows.entries()) offsets[index + 1] = offsets[index] + row.length;
  return { tokens: joined(Int32Array, rows), offsets };
}
