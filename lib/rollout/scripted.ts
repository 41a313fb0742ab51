import { SpaError } from "../errors.ts";
import { writeTurn } from "../text/turn-text.ts";
import type { Play } from "./collector.ts";
import type { EnvironmentPool } from "./environment-pool.ts";
import { Episode } from "./episode.ts";
import type { SeededGenerator } from "./seeded-generator.ts";
import { type Finish, type Trajectory, TrajectoryTokens, type Turn } from "./trajectory.ts";
import type { TurnProtocol } from "./turn-protocol.ts";

/** What a scripted agent writes in a turn; the states only in world-model format. */
export interface ScriptedReply {
  reasoning: string;
  actions: string[];
  observation?: string;
  prediction?: string;
}

/** Decides a turn; sees the environment behind the episode, which a model does not. */
export type Script = (episode: Episode, generator: SeededGenerator) => ScriptedReply;

/**
 * Plays one episode by a script, with the same prompts, limits and rewards as the collector's. The replies are written
 * text: no token counts as sampled.
 *
 * @param turns most turns to play
 * @throws SpaError CAPACITY when the first turn does not fit into the context; BAD_ENVIRONMENT
 */
export async function playScripted(
  protocol: TurnProtocol,
  environments: EnvironmentPool,
  play: Play,
  script: Script,
  generator: SeededGenerator,
  turns = protocol.settings.maxTurns,
): Promise<Trajectory> {
  const { settings } = protocol;
  const episode = await Episode.start(environments.acquire(), play.level, settings);
  const tokens = new TrajectoryTokens();
  const played: Turn[] = [];
  for (;;) {
    const first = played.length === 0 || settings.context === "turn";
    const messages = protocol.firstMessages(episode);
    const message = first ? messages.user : protocol.nextMessage(episode, played[played.length - 1].reward);
    const prompt = first ? protocol.opening(messages) : protocol.continuation(message, true);
    const reply = script(episode, generator);
    const written = encodeReply(protocol, reply);
    const held = first ? prompt.tokens.length : tokens.length + prompt.tokens.length;
    if (held + written.tokens.length > settings.maxTokens) {
      if (played.length === 0)
        throw turnTooLong(held, written.tokens.length, settings.maxTokens, play.level.seed);
      episode.finish = "context";
      break;
    }
    if (first) tokens.beginSegment();
    tokens.appendText(prompt.tokens, prompt.roles);
    const begin = tokens.length;
    tokens.appendText(written.tokens, written.roles);
    played.push({ message, begin, end: tokens.length, ...(await episode.act({ valid: true, ...reply })) });
    if (episode.finish !== null || played.length === turns) break;
  }
  environments.release(episode.environment);
  return {
    id: play.id,
    group: play.group,
    seed: play.level.seed,
    ...tokens.finish(),
    turns: played,
    totalReward: episode.totalReward,
    success: episode.success,
    finish: (episode.finish ?? "turns") satisfies Finish,
    distance: play.level.distance,
  };
}

function turnTooLong(prompt: number, reply: number, maxTokens: number, seed: number): SpaError {
  const message = `the first turn of level seed ${seed} has ${prompt} tokens of prompt and ${reply} of written reply, but protocol.maxTokens is ${maxTokens}`;
  return new SpaError("CAPACITY", message, {
    hint: "raise protocol.maxTokens, or shorten the states (protocol.promptState, protocol.traceState)",
  });
}

/** A reply as tokens, without the forced beginning that the prompt holds already. */
export function encodeReply(
  protocol: TurnProtocol,
  reply: ScriptedReply,
): { tokens: Int32Array; roles: Uint8Array } {
  const spans = writeTurn({ format: protocol.format, ...reply });
  if (protocol.forced !== "" && spans[0].text === protocol.forced) spans.shift();
  return protocol.encodeReply(spans);
}
