import type { SpaError } from "../errors.ts";
import type { Player, Speaker, Speech } from "../rollout/player.ts";
import type { Turn } from "../rollout/trajectory.ts";
import type { TurnProtocol } from "../rollout/turn-protocol.ts";
import type { Sampler } from "../sampling/sampler.ts";
import { joined } from "../typed-arrays.ts";

interface SpeakerOptions {
  temperature: number;
  signal: AbortSignal | undefined;
  /** Key of the random stream of a player's next reply. */
  streamOf: (player: Player) => number;
  onTurn: ((turn: Turn, number: number) => void | Promise<void>) | undefined;
}

/** Speaks for one agent through a sampler that it shares with others: the cache of what was said is found there. */
export class SamplingSpeaker implements Speaker {
  readonly #sampler: Sampler;
  readonly #protocol: TurnProtocol;
  readonly #options: SpeakerOptions;
  /** The sequence of the player so far. */
  #sequence: Int32Array = new Int32Array(0);
  #told = 0;

  constructor(sampler: Sampler, protocol: TurnProtocol, options: SpeakerOptions) {
    this.#sampler = sampler;
    this.#protocol = protocol;
    this.#options = options;
  }

  prepare({ held, play }: Player): SpaError | null {
    return this.#protocol.fits(held)
      ? null
      : this.#protocol.promptTooLong(held, `level seed ${play.level.seed}`);
  }

  async speak(players: readonly Player[]): Promise<Speech[]> {
    const [player] = players;
    const { prompt, turns, episode } = player;
    await this.tell(turns);
    const before = prompt.opens ? [prompt.tokens] : [this.#sequence, prompt.tokens];
    const whole = joined(Int32Array, before);
    const { temperature, signal, streamOf } = this.#options;
    const { tokens, logProbs } = await this.#sampler.sample({
      prompt: whole,
      maxNewTokens: this.#protocol.settings.maxNewTokens,
      stopTokens: this.#protocol.chat.stopTokens,
      stream: streamOf(player),
      ...{ temperature, signal },
    });
    this.#sequence = joined(Int32Array, [whole, tokens]);
    const { roles, parsed } = this.#protocol.read(tokens, episode.environment);
    return [{ tokens, roles, logProbs, reply: parsed }];
  }

  /** Tells of turns that nobody has been told of. */
  async tell(turns: readonly Turn[]): Promise<void> {
    while (this.#told < turns.length) {
      await this.#options.onTurn?.(turns[this.#told], this.#told + 1);
      this.#told++;
    }
  }
}
