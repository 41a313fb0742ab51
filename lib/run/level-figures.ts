import { z } from "zod";

/** How hard levels are: how many there are by the length of a shortest solution, `unknown` where there is none to tell. */
export const levelFiguresSchema = z.object({
  count: z.int().min(0),
  /** Over the levels whose distance is known; null without any. */
  meanDistance: z.number().nullable(),
  distances: z.record(z.string(), z.int()),
});

export type LevelFigures = z.output<typeof levelFiguresSchema>;

/** @param distances of each level, null where it is unknown */
export function levelFigures(distances: readonly (number | null)[]): LevelFigures {
  const known = distances.filter((distance) => distance !== null);
  const counts = [...new Set(distances)]
    .sort((left, right) => (left ?? Number.POSITIVE_INFINITY) - (right ?? Number.POSITIVE_INFINITY))
    .map((distance) => [distance ?? "unknown", distances.filter((other) => other === distance).length]);
  return {
    count: distances.length,
    meanDistance: known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length,
    distances: Object.fromEntries(counts),
  };
}

/** `128 levels, shortest solutions of 2.41 actions on average: 1 x 30, 2 x 45, 3 x 53`. */
export function describeLevels({ count, meanDistance, distances }: LevelFigures): string {
  const levels = count === 1 ? "1 level" : `${count} levels`;
  if (meanDistance === null) return `${levels} of unknown distance`;
  const numbers = Object.entries(distances).map(([distance, number]) => `${distance} x ${number}`);
  return `${levels}, shortest solutions of ${meanDistance.toFixed(2)} actions on average: ${numbers.join(", ")}`;
}
