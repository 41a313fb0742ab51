// Rollouts with the published tokenizers and chat templates: Qwen2.5, Qwen3 and Llama 3.2, on untrained models.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEnvironment } from "../../envs/index.ts";
import { configSchema } from "../../lib/config/schema.ts";
import { Engine } from "../../lib/engine/engine.ts";
import { collect } from "../../lib/rollout/collector.ts";
import { EnvironmentPool } from "../../lib/rollout/environment-pool.ts";
import { LevelStream } from "../../lib/rollout/levels.ts";
import type { Trajectory } from "../../lib/rollout/trajectory.ts";
import { TurnProtocol } from "../../lib/rollout/turn-protocol.ts";
import { conversationText } from "../../lib/text/chat-delimiters.ts";
import { lossMask } from "../../lib/text/masks.ts";
import { Role } from "../../lib/text/roles.ts";
import { published, publishedTokenizer } from "../text/published-tokenizers.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.create({ device: "cpu", threads: 1, seed: 5 });
});
afterAll(() => engine.dispose());

const lake = () => createEnvironment("frozen-lake", { slippery: false });

describe.each(published)("%s", (name) => {
  const tokenizer = publishedTokenizer(name);
  const { protocol: settings } = configSchema.parse({
    protocol: {
      style: "full",
      forceThink: true,
      maxTurns: 3,
      maxNewTokens: 8,
      maxTokens: 1500,
      context: "episode",
    },
  });
  const protocol = new TurnProtocol(tokenizer, settings, "world-model");

  it("appends each turn as the template writes it, and puts loss on what was sampled", async () => {
    const model = await engine.createModel({
      ...{
        vocabularySize: tokenizer.vocabularySize,
        hiddenSize: 16,
        intermediateSize: 16,
        layers: 1,
        heads: 1,
      },
    });
    const levels = await new LevelStream(lake(), 10_000).take(2);
    const plays = levels.map((level, id) => ({ id, group: id, level }));
    const environments = new EnvironmentPool(lake);
    const trajectories = await collect({
      model,
      protocol,
      environments,
      plays,
      temperature: 1,
      slots: 4,
      seed: 1,
    });
    for (const trajectory of trajectories) checkTrajectory(trajectory);
    await model.dispose();
  });

  function checkTrajectory(trajectory: Trajectory): void {
    const { tokens, roles, sampled, turns } = trajectory;
    expect(turns.length).toBe(3);
    const replies = turns.map(({ begin, end }) => tokenizer.decode(tokens.subarray(begin, end)));
    const parts = conversationText(
      protocol.chat.delimiters,
      protocol.system,
      turns.map(({ message }, i) => ({
        user: message,
        ...(i < turns.length - 1 && { reply: `<think>${replies[i]}` }),
      })),
    );
    // A reply of eight tokens was cut by the limit: its end token is put in, and is not trained.
    expect(tokenizer.decode(tokens)).toBe(`${parts.join("")}<think>${replies[turns.length - 1]}`);
    const mask = lossMask("response", roles, sampled);
    for (let i = 0; i < tokens.length; i++) {
      const inside = turns.some(({ begin, end }) => i >= begin && i < end);
      expect(mask[i]).toBe(inside ? 1 : 0);
      expect(sampled[i]).toBe(inside ? 1 : 0);
      if (tokens[i] === protocol.chat.endToken) expect(roles[i]).toBe(Role.template);
    }
  }
});
