import { SpaError } from "../errors.ts";
import type { TokenPiece } from "../text/conversation.ts";
import { writeTurn } from "../text/turn-text.ts";
import type { Episode } from "./episode.ts";
import { type Play, type Player, type PlayOptions, playTurns, type Speaker, type Speech } from "./player.ts";
import type { SeededGenerator } from "./seeded-generator.ts";
import type { Trajectory } from "./trajectory.ts";
import type { TurnProtocol } from "./turn-protocol.ts";

/** What a scripted agent writes in a turn; the states only in world-model format. */
interface ScriptedReply {
  reasoning: string;
  actions: string[];
  observation?: string;
  prediction?: string;
}

/** Decides a turn; sees the environment behind the episode, which a model does not. */
export type Script = (episode: Episode, generator: SeededGenerator) => ScriptedReply | Promise<ScriptedReply>;

export interface ScriptedOptions extends Omit<PlayOptions, "slots"> {
  script: Script;
  /** What the script draws from in a play. Plays may share one generator as long as they come one after another. */
  generatorOf: (play: Play) => SeededGenerator;
  /** 1 by default: one play after another. */
  slots?: number;
}

/**
 * Plays episodes by a script, with the same prompts, limits and rewards as the collector's. The replies are written
 * text: no token counts as sampled.
 *
 * @throws SpaError ABORTED; CAPACITY when a first turn does not fit into the context; BAD_ENVIRONMENT
 */
export function playScripted({ slots = 1, ...options }: ScriptedOptions): Promise<Trajectory[]> {
  return playTurns(new ScriptedSpeaker(options), { ...options, slots });
}

/** Writes a reply as soon as its prompt stands: how much room it takes is known then. */
class ScriptedSpeaker implements Speaker {
  readonly #options: Omit<ScriptedOptions, "slots">;
  readonly #generators = new WeakMap<Player, SeededGenerator>();
  readonly #written = new WeakMap<Player, Speech>();

  constructor(options: Omit<ScriptedOptions, "slots">) {
    this.#options = options;
  }

  async prepare(player: Player): Promise<SpaError | null> {
    const { protocol, script, generatorOf } = this.#options;
    const { episode, held, play } = player;
    const generator = this.#generators.get(player) ?? generatorOf(play);
    this.#generators.set(player, generator);
    const reply = await script(episode, generator);
    const piece = encodeReply(protocol, reply);
    this.#written.set(player, { ...piece, reply: { valid: true, ...reply } });
    const { maxTokens } = protocol.settings;
    if (held + piece.tokens.length <= maxTokens) return null;
    return turnTooLong(held, piece.tokens.length, maxTokens, play.level.seed);
  }

  async speak(players: readonly Player[]): Promise<Speech[]> {
    return players.map((player) => this.#written.get(player)!);
  }
}

function turnTooLong(prompt: number, reply: number, maxTokens: number, seed: number): SpaError {
  const message = `the first turn of level seed ${seed} has ${prompt} tokens of prompt and ${reply} of written reply, but protocol.maxTokens is ${maxTokens}`;
  return new SpaError("CAPACITY", message, {
    hint: "raise protocol.maxTokens, or shorten the states (protocol.promptState, protocol.traceState)",
  });
}

/** A reply as tokens, without the forced beginning that the prompt holds already. */
export function encodeReply(protocol: TurnProtocol, reply: ScriptedReply): TokenPiece {
  const spans = writeTurn({ format: protocol.format, ...reply });
  if (protocol.forced !== "" && spans[0].text === protocol.forced) spans.shift();
  return protocol.encodeReply(spans);
}
