import type { Environment } from "../../envs/environment.ts";
import { guard } from "../../envs/guard.ts";
import type { Config } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import type { Script } from "./scripted.ts";

/**
 * A policy that knows the rules, of environments that tell a best action: it sees the state before every action, so that no policy in
 * turns does better. Where nothing helps any more it does nothing.
 */
export const optimalScript: Script = async (episode) => {
  const action = guard(episode.environment).bestAction?.(episode.actionsLeft) ?? null;
  return { reasoning: "", actions: action === null ? [] : [action] };
};

/** The limits under which {@link optimalScript} plays: as many actions as others have, one a turn. */
export function oneActionATurn(protocol: Config["protocol"]): Config["protocol"] {
  return { ...protocol, context: "turn", maxTurns: protocol.maxActions, maxActionsPerTurn: 1 };
}

/** @throws SpaError BAD_CONFIG where the optimal policy is asked for and the environment does not tell it */
export function checkOptimal({ evaluation }: Pick<Config, "evaluation">, environment: Environment): void {
  if (!evaluation.references.includes("optimal") || guard(environment).bestAction !== undefined) return;
  const problem = `evaluation.references has optimal, but ${environment.name} does not tell its best actions`;
  throw new SpaError("BAD_CONFIG", problem, {
    hint: "leave optimal out, or let the environment implement bestAction()",
  });
}
