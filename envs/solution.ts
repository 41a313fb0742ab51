/**
 * What a solver found: a shortest sequence of actions, the certainty that there is none, or neither because the
 * search reached its limit of states.
 */
export type Solution =
  | { status: "solved"; actions: string[] }
  | { status: "unsolvable" }
  | { status: "gave-up"; states: number };
