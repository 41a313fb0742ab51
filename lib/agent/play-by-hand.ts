import { playScripted } from "../rollout/scripted.ts";
import { SeededGenerator } from "../rollout/seeded-generator.ts";
import type { Trajectory } from "../rollout/trajectory.ts";
import { TurnProtocol } from "../rollout/turn-protocol.ts";
import { parseTurn } from "../text/parse.ts";
import { type Agent, levelOf, type PlayLevelOptions } from "./agent.ts";

export interface PlayByHandOptions extends Pick<PlayLevelOptions, "level" | "signal"> {
  /**
   * Asks a person for a turn's actions, as they would stand in an answer: `Up || Left`. It is asked again, with what was wrong,
   * where something is no action.
   */
  ask: (state: string, actions: readonly string[], wrong: string | null) => Promise<string>;
}

/** Lets a person play a level of an agent's environment, with the agent's limits of turns and actions. */
export async function playByHand(
  agent: Agent,
  { level, signal, ask }: PlayByHandOptions,
): Promise<Trajectory> {
  const environments = await agent.environmentsOf(agent.config.environment.name);
  const drawing = environments.acquire();
  const drawn = await levelOf(drawing, level ?? agent.config.levels.testSeed);
  environments.release(drawing);
  const protocol = new TurnProtocol(agent.tokenizer, agent.protocol.settings, "plain");
  const [trajectory] = await playScripted({
    ...{ protocol, environments, signal },
    plays: [{ id: 0, group: 0, level: drawn }],
    script: async ({ environment, state }) => {
      const { actions, parseAction } = environment;
      const maxActions = protocol.settings.maxActionsPerTurn;
      for (let wrong: string | null = null; ; ) {
        const answer = await ask(state[protocol.settings.promptState], actions, wrong);
        const text = `<think></think><answer>${answer}</answer>`;
        const read = parseTurn(text, { format: "plain", actions, parseAction, maxActions });
        if (read.unknownActions.length === 0) return { reasoning: "", actions: read.actions };
        wrong = `no action: ${read.unknownActions.join(", ")}`;
      }
    },
    generatorOf: () => new SeededGenerator("by hand"),
  });
  return trajectory;
}
