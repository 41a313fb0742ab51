import { SpaError } from "../errors.ts";

/** A state in both renderings of an environment. */
export interface StateText {
  grid: string;
  /** The grid and, on lines under it, the coordinates of what matters. */
  structured: string;
}

/** Ways in which observations and predictions write a state: as it is rendered, or the coordinates alone. */
export const stateForms = ["grid", "structured", "coordinates"] as const;
export type StateForm = (typeof stateForms)[number];

/**
 * A state's text in one of the forms.
 *
 * @throws SpaError BAD_ENVIRONMENT where coordinates are asked for and its structured rendering has none
 */
export function writeState(state: StateText, form: StateForm): string {
  if (form !== "coordinates") return state[form];
  const coordinates = coordinatesOf(state);
  if (coordinates !== "") return coordinates;
  throw new SpaError("BAD_ENVIRONMENT", "the environment renders no coordinates under a state's grid", {
    hint: 'set protocol.traceState=grid, or let render("structured") put them on a line under the grid',
  });
}

/** What the structured rendering has under the grid; empty if nothing, or if it is not the grid with more under it. */
export function coordinatesOf({ grid, structured }: StateText): string {
  return structured.startsWith(`${grid}\n`) ? structured.slice(grid.length + 1) : "";
}
