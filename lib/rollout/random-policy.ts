import type { Environment, Json } from "../../envs/environment.ts";
import { type GuardedEnvironment, guard } from "../../envs/guard.ts";
import type { Config } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import type { Episode } from "./episode.ts";
import type { Script } from "./scripted.ts";
import type { SeededGenerator } from "./seeded-generator.ts";
import type { TurnProtocol } from "./turn-protocol.ts";

type PolicyConfig = Pick<Config, "base" | "protocol">;

/** Tries at an action that the environment reads, or calls valid, before it is called unreadable, or taken as it is. */
const MAX_TRIES = 200;

/**
 * Actions drawn uniformly, their number with the given weights (for 1, 2, … actions).
 *
 * Environments without a list of actions are asked for `row,column,value` with one-based numbers up to the grid's side,
 * as far as `parseAction` accepts it.
 *
 * @throws SpaError BAD_ENVIRONMENT when no action can be made up
 */
export function randomActions(
  environment: Environment,
  generator: SeededGenerator,
  countWeights: readonly number[],
  atMost: number,
): string[] {
  const count = Math.min(generator.weighted(countWeights) + 1, atMost);
  const guarded = guard(environment);
  return Array.from({ length: count }, () => randomAction(guarded, generator));
}

/**
 * A turn's actions by the random policy: the actions of the traces, and the baseline of the evaluation. With `base.validActions`
 * each is one that the environment calls valid in the state before the turn; of what it does nothing else is looked at.
 */
export async function randomPolicyActions(
  { base, protocol }: PolicyConfig,
  episode: Episode,
  generator: SeededGenerator,
): Promise<string[]> {
  const { environment } = episode;
  const atMost = Math.min(protocol.maxActionsPerTurn, episode.actionsLeft);
  const actions = randomActions(environment, generator, base.actionCounts, atMost);
  if (!base.validActions) return actions;
  const before = environment.state();
  for (const [index, action] of actions.entries()) {
    let drawn = action;
    // Where nothing is valid something is done all the same.
    for (let tries = 1; tries < MAX_TRIES && !(await isValid(environment, before, drawn)); tries++)
      drawn = randomAction(environment, generator);
    actions[index] = drawn;
  }
  return actions;
}

/** Tries an action, and takes it back. */
async function isValid(environment: GuardedEnvironment, before: Json, action: string): Promise<boolean> {
  const { info } = await environment.step(action);
  environment.restore(before);
  return info.valid;
}

/** The random policy in replies of full length: the state before the turn stands for both. */
export function randomStatesScript(config: PolicyConfig, protocol: TurnProtocol): Script {
  return async (episode, generator) => {
    const state = protocol.traceState(episode.state);
    const actions = await randomPolicyActions(config, episode, generator);
    return { observation: state, reasoning: "", prediction: state, actions };
  };
}

function randomAction(environment: GuardedEnvironment, generator: SeededGenerator): string {
  const { actions } = environment;
  if (actions.length > 0) return generator.choice(actions);
  const side = gridSide(environment.render("grid"));
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const text = Array.from({ length: 3 }, () => generator.integer(side) + 1).join(",");
    const action = environment.parseAction ? environment.parseAction(text) : text;
    if (action !== null) return action;
  }
  throw new SpaError("BAD_ENVIRONMENT", `no random action can be made up for ${environment.name}`, {
    hint: "give the environment a list of actions, or let parseAction read row,column,value",
  });
}

/** Cells in the longest line of a grid; white space and bars are no cells. */
function gridSide(grid: string): number {
  return Math.max(...grid.split("\n").map((line) => [...line.replace(/[\s|]/g, "")].length), 1);
}
