import type { Model } from "../../engine/model.ts";
import type { Trajectory } from "../../rollout/trajectory.ts";
import { joined } from "../../typed-arrays.ts";

/**
 * How much replies say about the prompts that they answer, in nats per reply: an estimate of their mutual information from N
 * prompts x and a reply z to each,
 *
 *     I = mean over i of [ log p(z_i | x_i) - log( mean over j of p(z_i | x_j) ) ].
 *
 * It is at most log N, where each reply fits its own prompt alone, and 0 where replies are the same whatever was asked: reasoning that
 * has collapsed into a template, which entropy does not show (after RAGEN-2).
 *
 * @param logProbs [reply][prompt] log p(z_i | x_j), N by N
 */
export function mutualInformation(logProbs: readonly (readonly number[])[]): number {
  const gains = logProbs.map((row, index) => {
    const largest = Math.max(...row);
    const mean = row.reduce((sum, value) => sum + Math.exp(value - largest), 0) / row.length;
    return row[index] - largest - Math.log(mean);
  });
  return gains.reduce((sum, gain) => sum + gain, 0) / gains.length;
}

/**
 * {@link mutualInformation} of the first turns of trajectories, one of each level and at most `levels` of them: every reply is scored
 * behind every prompt, at temperature 1.
 *
 * @returns undefined with fewer than two levels
 */
export async function replyInformation(
  model: Model,
  trajectories: readonly Trajectory[],
  levels: number,
): Promise<number | undefined> {
  const byLevel = new Map(trajectories.map((trajectory) => [trajectory.group, trajectory]));
  const turns = [...byLevel.values()].slice(0, levels).map(({ tokens, turns: [first] }) => ({
    prompt: tokens.subarray(0, first.begin),
    reply: tokens.subarray(first.begin, first.end),
  }));
  if (turns.length < 2) return undefined;
  const rows = turns.flatMap(({ reply }) => turns.map(({ prompt }) => ({ prompt, reply })));
  const offsets = [0];
  for (const { prompt, reply } of rows)
    offsets.push(offsets[offsets.length - 1] + prompt.length + reply.length);
  const tokens = joined(
    Int32Array,
    rows.flatMap(({ prompt, reply }) => [prompt, reply]),
  );
  const logProbs = await model.logProbs({ tokens, offsets });
  const sums = rows.map(({ prompt }, row) =>
    logProbs.subarray(offsets[row] + prompt.length, offsets[row + 1]).reduce((sum, value) => sum + value, 0),
  );
  return mutualInformation(
    turns.map((_, index) => sums.slice(index * turns.length, (index + 1) * turns.length)),
  );
}
