import { SpaError } from "../../errors.ts";
import type { Trajectory, Turn } from "../../rollout/trajectory.ts";
import type { TurnProtocol } from "../../rollout/turn-protocol.ts";
import { aroundState } from "../../text/prompt.ts";
import { Role } from "../../text/roles.ts";
import { joined } from "../../typed-arrays.ts";

/**
 * Where the environment's answers to the agent's actions stand: 1 on the tokens of the states in the prompts of all turns but a
 * sequence's first, whose state is the level. Rewards, instructions and chat delimiters are none of them. ECHO (arXiv
 * 2605.24517) trains on these tokens.
 *
 * @returns [tokens] of the trajectories laid end to end
 */
export function environmentStates(trajectories: readonly Trajectory[], protocol: TurnProtocol): Uint8Array {
  return joined(
    Uint8Array,
    trajectories.map((trajectory) => {
      const mask = new Uint8Array(trajectory.tokens.length);
      for (const [index, turn] of trajectory.turns.slice(1).entries())
        markState(trajectory, trajectory.turns[index].end, turn, protocol, mask);
      return mask;
    }),
  );
}

/** Marks the state in the prompt that lies between the turn before, which ends at `begin`, and `turn`. */
function markState(
  { tokens, roles }: Trajectory,
  begin: number,
  turn: Turn,
  { tokenizer, settings }: TurnProtocol,
  mask: Uint8Array,
): void {
  const places: number[] = [];
  for (let place = begin; place < turn.begin; place++)
    if (roles[place] === Role.environment) places.push(place);
  if (places.length === 0) return;
  // One character a byte. A tokenizer may write a state otherwise than it was given, and a token may reach into a delimiter.
  const texts = places.map((place) => Buffer.from(tokenizer.bytesOf(tokens[place])).toString("latin1"));
  const text = texts.join("");
  const [before, after] = aroundState(turn.message, turn.stateBefore[settings.promptState]).map((piece) =>
    Buffer.from(piece).toString("latin1"),
  );
  const first = text.indexOf(before) + before.length;
  const end = after === "" ? text.length : text.lastIndexOf(after);
  if (!text.includes(before) || end < first)
    throw new SpaError("INTERNAL", `a prompt's tokens are not its message: ${JSON.stringify(turn.message)}`);
  let at = 0;
  for (const [index, place] of places.entries()) {
    const next = at + texts[index].length;
    if (next > first && at < end) mask[place] = 1;
    at = next;
  }
}
