import { type Html, html } from "../report/html.ts";
import { stageTitle } from "../report/names.ts";
import { renderTrajectory } from "../report/trajectory-section.ts";
import { describeActions } from "../report/trajectory-view.ts";
import type { RunFolder } from "../run/run-folder.ts";
import type { LoggedTrajectory, TrajectoryEntry } from "../run/trajectory-log.ts";
import { drawBoard } from "./board.ts";

/** What the page asks for among a stage's trajectories; what is left out is any. */
export interface TrajectoryQuery {
  step?: number;
  success?: boolean;
  distance?: number;
  seed?: number;
  /** Reason of an invalid reply, as `invalidReason` has it. */
  reason?: string;
  /** In what was read or written, whatever the case. */
  text?: string;
}

/** Trajectories that are listed at most. */
const listed = 200;

/** The trajectories of a stage that a query asks for, from the first on. */
export function findTrajectories(run: RunFolder, stage: string, query: TrajectoryQuery): TrajectoryEntry[] {
  const { step, success, distance, seed, reason, text } = query;
  const log = run.trajectories(stage);
  const found: TrajectoryEntry[] = [];
  for (const entry of log.index()) {
    if (step !== undefined && entry.step !== step) continue;
    if (success !== undefined && entry.success !== success) continue;
    if (distance !== undefined && entry.distance !== distance) continue;
    if (seed !== undefined && entry.seed !== seed) continue;
    if ((reason !== undefined || text !== undefined) && !holds(log.at(entry), reason, text)) continue;
    if (found.push(entry) >= listed) break;
  }
  return found;
}

function holds(
  { turns, pieces }: LoggedTrajectory,
  reason: string | undefined,
  text: string | undefined,
): boolean {
  if (reason !== undefined && !turns.some(({ invalidReason }) => invalidReason === reason)) return false;
  if (text === undefined) return true;
  const written = pieces
    .map(([, , , piece]) => piece)
    .join("")
    .toLowerCase();
  return written.includes(text.toLowerCase());
}

/** One trajectory: its board turn by turn, then what was read and written. */
export function trajectoryPage(run: RunFolder, stage: string, entry: TrajectoryEntry): Html {
  const trajectory = run.trajectories(stage).at(entry);
  return html`<article class="shown" data-seed="${entry.seed}">
<h3>${stageTitle(stage)}, step ${entry.step}, level seed ${entry.seed}</h3>
${replay(run, trajectory)}
${renderTrajectory(trajectory, run.config.protocol.traceState, false)}
</article>`;
}

/** The states of an episode as drawings, of which the page's script shows one at a time. */
function replay({ config }: RunFolder, { turns }: LoggedTrajectory): Html | undefined {
  const states = [
    { grid: turns[0]?.stateBefore.grid ?? "", done: "at the beginning" },
    ...turns.map((turn) => ({ grid: turn.stateAfter.grid, done: `after ${describeActions(turn)}` })),
  ];
  const frames = states.map(({ grid, done }, index) => {
    const board = drawBoard(config.environment.name, grid);
    return (
      board &&
      html`<figure class="frame">${board}<figcaption>${index} of ${turns.length}: ${done}</figcaption></figure>`
    );
  });
  if (frames.some((frame) => frame === undefined)) return undefined;
  return html`<div class="replay" tabindex="0" role="group" aria-label="The board turn by turn; arrow keys go back and on">${frames}
<p><button type="button" data-move="-1">◀ back</button> <button type="button" data-move="1">on ▶</button></p></div>`;
}

/** The same level under every policy that has an evaluation, side by side. */
export function levelPage(run: RunFolder, seed: number): Html {
  const stages = run.stagesWithTrajectories().filter((stage) => stage.startsWith("evaluate/"));
  const shown = stages.flatMap((stage) =>
    findTrajectories(run, stage, { seed })
      .slice(0, 1)
      .map((entry) => trajectoryPage(run, stage, entry)),
  );
  if (shown.length === 0) return html`<p class="empty">No evaluation has logged this level.</p>`;
  return html`<div class="side-by-side">${shown}</div>`;
}
