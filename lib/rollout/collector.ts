import type { Model } from "../engine/model.ts";
import type { Generated, Session } from "../engine/session.ts";
import { SpaError, throwIfAborted } from "../errors.ts";
import type { EnvironmentPool } from "./environment-pool.ts";
import { Episode } from "./episode.ts";
import type { Level } from "./levels.ts";
import { type Finish, type Trajectory, TrajectoryTokens, type Turn } from "./trajectory.ts";
import type { TurnProtocol } from "./turn-protocol.ts";

/** One trajectory to be played. */
export interface Play {
  /** Unique within the stage; key of the trajectory's random stream. */
  id: number;
  /** Plays of a group stand next to each other and have the same level. */
  group: number;
  level: Level;
}

export interface CollectOptions {
  model: Model;
  /** Prompts, reading of replies, and the limits of episodes. */
  protocol: TurnProtocol;
  environments: EnvironmentPool;
  plays: readonly Play[];
  temperature: number;
  /** Trajectories that are sampled at the same time. */
  slots: number;
  /** Seed of the sampling streams. */
  seed: number;
  signal?: AbortSignal | undefined;
  /** Told how many trajectories are finished. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** An episode that is under way, and the slot that holds its cache. */
interface Player {
  play: Play;
  index: number;
  slot: number;
  episode: Episode;
  tokens: TrajectoryTokens;
  turns: Turn[];
  /** The user message that the next reply answers, and the tokens that the slot still lacks. */
  message: string;
  pending: Int32Array;
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
  return await new Collection(options, session).run();
}

class Collection {
  readonly #options: CollectOptions;
  readonly #session: Session;
  readonly #results: Trajectory[];
  readonly #free: number[];
  #next = 0;
  #done = 0;

  constructor(options: CollectOptions, session: Session) {
    this.#options = options;
    this.#session = session;
    this.#results = new Array(options.plays.length);
    this.#free = Array.from({ length: session.slots }, (_, index) => session.slots - 1 - index);
  }

  async run(): Promise<Trajectory[]> {
    const { plays, signal } = this.#options;
    let players: Player[] = [];
    while (players.length > 0 || this.#next < plays.length) {
      throwIfAborted(signal);
      players.push(...(await this.#admit()));
      await this.#extend(players);
      const replies = await this.#generate(players);
      if (!replies.logProbs.every(Number.isFinite)) throw notFinite(players, replies);
      await Promise.all(players.map((player, row) => this.#takeTurn(player, replies, row)));
      players = await this.#retire(players);
    }
    return this.#results;
  }

  /** Starts waiting plays on free slots. */
  async #admit(): Promise<Player[]> {
    const { plays, environments, protocol } = this.#options;
    const count = Math.min(this.#free.length, plays.length - this.#next);
    const starting = Array.from({ length: count }, async (_, offset): Promise<Player> => {
      const index = this.#next + offset;
      const play = plays[index];
      const slot = this.#free[this.#free.length - 1 - offset];
      const episode = await Episode.start(environments.acquire(), play.level, protocol.settings);
      const player: Player = {
        play,
        index,
        slot,
        episode,
        tokens: new TrajectoryTokens(),
        turns: [],
        message: "",
        pending: new Int32Array(),
      };
      this.#openSegment(player);
      return player;
    });
    const players = await Promise.all(starting);
    this.#free.length -= count;
    this.#next += count;
    return players;
  }

  /** Appends the prompt with which a sequence starts, or ends the trajectory where that leaves no room for a reply. */
  #openSegment(player: Player): void {
    const { protocol } = this.#options;
    const messages = protocol.firstMessages(player.episode);
    const prompt = protocol.opening(messages);
    if (!protocol.fits(prompt.tokens.length)) {
      if (player.turns.length === 0) throw protocol.promptTooLong(prompt.tokens.length, player.play.level);
      player.episode.finish = "context";
      return;
    }
    player.message = messages.user;
    player.tokens.beginSegment();
    player.tokens.appendText(prompt.tokens, prompt.roles);
    player.pending = prompt.tokens;
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
      const leader = leaders.find(({ pending }) => sameTokens(pending, player.pending));
      if (leader) {
        targets.set(leader, [...(targets.get(leader) ?? []), player.slot]);
      } else {
        leaders.push(player);
        rows.push(player);
      }
    }
    const batch = packRows(rows.map(({ pending }) => pending));
    const { signal } = this.#options;
    await this.#session.extend(
      rows.map(({ slot }) => slot),
      batch,
      { signal },
    );
    await Promise.all([...targets].map(([leader, slots]) => this.#session.fork(leader.slot, slots)));
  }

  #generate(players: readonly Player[]): Promise<Generated> {
    const { protocol, temperature, signal } = this.#options;
    const { context, maxNewTokens, maxTurns } = protocol.settings;
    return this.#session.generate(
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
  }

  /** Reads row `row` of the replies, plays it, and prepares the player's next turn. */
  async #takeTurn(player: Player, replies: Generated, row: number): Promise<void> {
    const { protocol } = this.#options;
    const { episode, tokens } = player;
    const sampled = replies.tokens.slice(replies.offsets[row], replies.offsets[row + 1]);
    const logProbs = replies.logProbs.slice(replies.offsets[row], replies.offsets[row + 1]);
    const reply = protocol.read(sampled, episode.environment);
    const begin = tokens.length;
    tokens.appendSampled(sampled, reply.roles, logProbs);
    const { message } = player;
    player.turns.push({ message, begin, end: tokens.length, ...(await episode.act(reply.parsed)) });
    if (episode.finish === null)
      this.#continue(player, sampled[sampled.length - 1] === protocol.chat.endToken);
  }

  /**
   * Appends the environment's answer, or ends the trajectory where the next turn might not fit. `ended`: the reply ends
   * with the chat format's own end token.
   */
  #continue(player: Player, ended: boolean): void {
    const { protocol } = this.#options;
    if (protocol.settings.context === "turn") {
      this.#openSegment(player);
      return;
    }
    const message = protocol.nextMessage(player.episode, player.turns[player.turns.length - 1].reward);
    const text = protocol.continuation(message, ended);
    if (!protocol.fits(player.tokens.length + text.tokens.length)) {
      player.episode.finish = "context";
      return;
    }
    player.message = message;
    player.tokens.appendText(text.tokens, text.roles);
    player.pending = text.tokens;
  }

  /** Stores finished trajectories and frees their slots; returns the players that go on. */
  async #retire(players: readonly Player[]): Promise<Player[]> {
    const finished = players.filter(({ episode }) => episode.finish !== null);
    const others = players.filter(({ episode }) => episode.finish === null);
    for (const player of finished) {
      this.#results[player.index] = finishedTrajectory(player);
      this.#options.environments.release(player.episode.environment);
      this.#free.push(player.slot);
    }
    const emptied = this.#options.protocol.settings.context === "turn" ? players : finished;
    if (emptied.length > 0) await this.#session.release(emptied.map(({ slot }) => slot));
    this.#done += finished.length;
    this.#options.onProgress?.(this.#done, this.#options.plays.length);
    return others;
  }
}

function finishedTrajectory({ play, episode, tokens, turns }: Player): Trajectory {
  return {
    id: play.id,
    group: play.group,
    seed: play.level.seed,
    ...tokens.finish(),
    turns,
    totalReward: episode.totalReward,
    success: episode.success,
    finish: episode.finish as Finish,
    distance: play.level.distance,
  };
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
export function packRows(rows: readonly Int32Array[]): { tokens: Int32Array; offsets: Uint32Array } {
  const offsets = new Uint32Array(rows.length + 1);
  for (const [index, row] of rows.entries()) offsets[index + 1] = offsets[index] + row.length;
  const tokens = new Int32Array(offsets[rows.length]);
  for (const [index, row] of rows.entries()) tokens.set(row, offsets[index]);
  return { tokens, offsets };
}
