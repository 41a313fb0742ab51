import { createEnvironment } from "../../envs/index.ts";
import { configSchema } from "../../lib/config/schema.ts";
import { EnvironmentPool } from "../../lib/rollout/environment-pool.ts";
import { LevelStream } from "../../lib/rollout/levels.ts";
import { playsOf } from "../../lib/rollout/player.ts";
import { playScripted, type Script } from "../../lib/rollout/scripted.ts";
import { SeededGenerator } from "../../lib/rollout/seeded-generator.ts";
import type { Trajectory } from "../../lib/rollout/trajectory.ts";
import { TurnProtocol } from "../../lib/rollout/turn-protocol.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import type { Role } from "../../lib/text/roles.ts";

export const tokenizer = nanoTokenizer();
const lake = () => createEnvironment("frozen-lake", { slippery: false });

export function protocolWith(settings: Record<string, unknown> = {}): TurnProtocol {
  const { protocol } = configSchema.parse({ protocol: { maxTurns: 3, ...settings } });
  return new TurnProtocol(tokenizer, protocol, "world-model");
}

/** An agent that sees nothing and predicts nothing, in a form that is right. */
const blind: Script = (_, generator) => ({
  observation: "P",
  reasoning: " So I move closer.",
  prediction: "G",
  actions: [generator.choice(["Up", "Down", "Left", "Right"])],
});

export async function trajectories(protocol: TurnProtocol, count = 6, script = blind): Promise<Trajectory[]> {
  const levels = await new LevelStream(lake(), 10_000).take(count);
  const pool = new EnvironmentPool(lake);
  const generator = new SeededGenerator("blind");
  return playScripted({
    protocol,
    environments: pool,
    plays: playsOf(levels),
    script,
    generatorOf: () => generator,
  });
}

/** What a trajectory says in one role. */
export const textOf = (tokens: Int32Array, roles: Uint8Array, role: Role) =>
  tokenizer.decode(tokens.filter((_, index) => roles[index] === role));
