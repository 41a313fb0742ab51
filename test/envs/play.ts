import type { Environment, Json } from "../../envs/environment.ts";

/** What each action gives, as JSON; an error, such as that of a finished episode, as its text. */
export function playAll(environment: Pick<Environment, "step">, actions: readonly string[]): Json[] {
  return actions.map((action) => {
    try {
      return JSON.parse(JSON.stringify(environment.step(action)));
    } catch (error) {
      return String(error);
    }
  });
}
