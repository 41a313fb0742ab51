import { heedSignal, type SpaError } from "../errors.ts";
import type { TokenPiece } from "../text/conversation.ts";
import type { EnvironmentPool } from "./environment-pool.ts";
import { Episode, type Reply } from "./episode.ts";
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

/** `size` plays of each level, which are a group. Ids and groups are numbered in order, groups from `firstGroup` on. */
export function playsOf(levels: readonly Level[], size = 1, firstGroup = 0): Play[] {
  return levels.flatMap((level, index) => {
    const group = firstGroup + index;
    return Array.from({ length: size }, (_, member) => ({ id: group * size + member, group, level }));
  });
}

/** What the agent says in a turn; without a forced beginning, which stands in the prompt. The arrays stay as they are. */
export interface Speech extends TokenPiece {
  /** [tokens] where the model sampled them; absent for written text. */
  logProbs?: Float32Array;
  /** What the environment is asked for. */
  reply: Reply;
}

/** Who speaks for the agent: a session that samples, or a script that writes. */
export interface Speaker {
  /** Gets ready for the reply to a player's prompt. @returns why no reply has room behind it; null where one has */
  prepare(player: Player): SpaError | null | Promise<SpaError | null>;
  /** The replies of all who are under way, in their order. */
  speak(players: readonly Player[]): Promise<Speech[]>;
  /** Told of players whose next prompt, if any, starts a sequence of its own. */
  release?(players: readonly Player[]): Promise<void>;
}

/** What {@link playTurns} plays, and with what. */
export interface PlayOptions {
  /** Prompts, reading of replies, and the limits of episodes. */
  protocol: TurnProtocol;
  environments: EnvironmentPool;
  plays: readonly Play[];
  /** Plays that are under way at the same time. */
  slots: number;
  /** Most turns of a play; the protocol's limit by default. */
  turns?: number;
  signal?: AbortSignal | undefined;
  /** Told how many trajectories are finished. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** The prompt that the next reply answers. It is part of the trajectory once the reply is. */
interface Prompt extends TokenPiece {
  /** The user message in it. */
  message: string;
  /** It starts a forward segment. */
  opens: boolean;
}

/** An episode that is under way. */
export class Player {
  readonly play: Play;
  /** Its place among the plays. */
  readonly place: number;
  /** A number that no other player under way has, below {@link PlayOptions.slots}. */
  readonly slot: number;
  readonly episode: Episode;
  readonly turns: Turn[] = [];
  prompt!: Prompt;
  readonly #options: PlayOptions;
  readonly #tokens = new TrajectoryTokens();
  /** The last reply ends with the chat format's own end token. */
  #ended = false;

  private constructor(place: number, slot: number, episode: Episode, options: PlayOptions) {
    this.play = options.plays[place];
    this.place = place;
    this.slot = slot;
    this.episode = episode;
    this.#options = options;
  }

  /** Begins the episode of a play. @throws SpaError BAD_ENVIRONMENT, or what the speaker refuses the first prompt with */
  static async start(place: number, slot: number, speaker: Speaker, options: PlayOptions): Promise<Player> {
    const { environments, plays, protocol } = options;
    const episode = await Episode.start(environments.acquire(), plays[place].level, protocol.settings);
    const player = new Player(place, slot, episode, options);
    const refusal = await player.#ask(speaker);
    if (refusal !== null) throw refusal;
    return player;
  }

  /** Tokens that the reply has before it, in its sequence. */
  get held(): number {
    return this.prompt.tokens.length + (this.prompt.opens ? 0 : this.#tokens.length);
  }

  /** Plays a turn, and puts the next prompt where the episode goes on. It ends where that leaves no room for a reply. */
  async take(speech: Speech, speaker: Speaker): Promise<void> {
    const { episode, turns, prompt } = this;
    const { protocol, turns: most } = this.#options;
    if (prompt.opens) this.#tokens.beginSegment();
    this.#tokens.append(prompt);
    const begin = this.#tokens.length;
    this.#tokens.append(speech);
    const { message } = prompt;
    turns.push({ message, begin, end: this.#tokens.length, ...(await episode.act(speech.reply)) });
    this.#ended = speech.tokens[speech.tokens.length - 1] === protocol.chat.endToken;
    if (turns.length === most) episode.finish ??= "turns";
    if (episode.finish === null && (await this.#ask(speaker)) !== null) episode.finish = "context";
  }

  async #ask(speaker: Speaker): Promise<SpaError | null> {
    this.prompt = this.#nextPrompt();
    return await speaker.prepare(this);
  }

  #nextPrompt(): Prompt {
    const { episode, turns } = this;
    const { protocol } = this.#options;
    if (turns.length === 0 || protocol.settings.context === "turn") {
      const messages = protocol.firstMessages(episode);
      return { message: messages.user, opens: true, ...protocol.opening(messages) };
    }
    const message = protocol.nextMessage(episode, turns[turns.length - 1].reward);
    return { message, opens: false, ...protocol.continuation(message, this.#ended) };
  }

  /** The trajectory of an episode that is over. */
  trajectory(): Trajectory {
    const { play, episode, turns } = this;
    return {
      id: play.id,
      group: play.group,
      seed: play.level.seed,
      ...this.#tokens.finish(),
      turns,
      totalReward: episode.totalReward,
      success: episode.success,
      finish: episode.finish as Finish,
      distance: play.level.distance,
    };
  }
}

/**
 * Plays every episode of `plays` and returns the trajectories in the order of `plays`.
 *
 * All episodes under way take their turns together; whoever finishes hands its slot to the next in line.
 *
 * @throws SpaError ABORTED, BAD_ENVIRONMENT; what the speaker refuses a first prompt with, and what it throws
 */
export async function playTurns(speaker: Speaker, options: PlayOptions): Promise<Trajectory[]> {
  const { plays, environments, protocol, slots, signal, onProgress } = options;
  const trajectories: Trajectory[] = new Array(plays.length);
  const free = Array.from({ length: slots }, (_, index) => slots - 1 - index);
  let players: Player[] = [];
  let begun = 0;
  let done = 0;
  while (done < plays.length) {
    await heedSignal(signal);
    const count = Math.min(free.length, plays.length - begun);
    const starting = Array.from({ length: count }, () =>
      Player.start(begun++, free.pop()!, speaker, options),
    );
    players.push(...(await Promise.all(starting)));
    const speeches = await speaker.speak(players);
    await Promise.all(players.map((player, row) => player.take(speeches[row], speaker)));
    const finished = players.filter(({ episode }) => episode.finish !== null);
    for (const player of finished) {
      trajectories[player.place] = player.trajectory();
      environments.release(player.episode.environment);
      free.push(player.slot);
    }
    const emptied = protocol.settings.context === "turn" ? players : finished;
    if (emptied.length > 0) await speaker.release?.(emptied);
    players = players.filter(({ episode }) => episode.finish === null);
    done += finished.length;
    onProgress?.(done, plays.length);
  }
  return trajectories;
}
