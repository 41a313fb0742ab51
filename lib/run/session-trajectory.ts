import { SpaError } from "../errors.ts";
import type { Trajectory, Turn } from "../rollout/trajectory.ts";
import { ofRuns, type RecordedSession } from "./session-log.ts";

/** What a world that is not known here showed. */
const unknown = { grid: "", structured: "" };

/**
 * Sessions as trajectories to train on: the reward stands at the end, calls are turns.
 *
 * @throws SpaError BAD_ARGUMENT for a session whose parts do not fit together, by its place
 */
export function sessionTrajectories(sessions: readonly RecordedSession[]): Trajectory[] {
  const groups = new Map<string, number>();
  return sessions.map((session, id) => {
    const name = session.group === null ? `\0${id}` : session.group;
    if (!groups.has(name)) groups.set(name, groups.size);
    return trajectoryOf(session, id, groups.get(name)!);
  });
}

function trajectoryOf(session: RecordedSession, id: number, group: number): Trajectory {
  const { reward, segments, turns: calls } = session;
  const tokens = Int32Array.from(session.tokens);
  const [roles, sampled] = [ofRuns(session.roles), ofRuns(session.sampled)];
  const logProbs = new Float32Array(tokens.length);
  let next = 0;
  for (let index = 0; index < sampled.length; index++)
    if (sampled[index] === 1) logProbs[index] = session.logProbs[next++] ?? Number.NaN;
  const fits =
    tokens.length > 0 &&
    roles.length === tokens.length &&
    sampled.length === tokens.length &&
    segments[0] === 0;
  if (!fits || next !== session.logProbs.length || !logProbs.every(Number.isFinite)) {
    throw new SpaError(
      "BAD_ARGUMENT",
      `session ${id + 1} ("${session.session}") is damaged: its parts differ in length`,
      {
        hint: "take the line out of the file",
      },
    );
  }
  const turns = calls.map(([begin, end], index): Turn => {
    const own = index === calls.length - 1 ? reward : 0;
    const seen = { message: "", stateBefore: unknown, stateAfter: unknown, effective: false };
    return { ...seen, begin, end, reward: own, valid: true, actions: [], executed: 0 };
  });
  const success = reward > 0;
  const outcome = { totalReward: reward, success, finish: "terminated" as const, distance: null };
  return { id, group, seed: 0, tokens, roles, sampled, logProbs, segments, turns, ...outcome };
}
