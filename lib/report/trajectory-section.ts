import type { LoggedTrajectory } from "../run/trajectory-log.ts";
import { roleNames } from "../text/roles.ts";
import type { StateForm } from "../text/state-text.ts";
import { type Html, html } from "./html.ts";
import { stageTitle } from "./names.ts";
import type { Fragment } from "./state-difference.ts";
import {
  describeActions,
  formatNumber,
  type StateComparison,
  type ViewPiece,
  type ViewTurn,
  viewTrajectory,
} from "./trajectory-view.ts";

/** The trajectories of a stage that stand in the report. */
export interface StageTrajectories {
  stage: string;
  /** How many the log holds. */
  logged: number;
  chosen: LoggedTrajectory[];
}

/** Trajectories of every stage, turn by turn. */
export function trajectorySection(stages: readonly StageTrajectories[], traceState: StateForm): Html {
  if (stages.length === 0) {
    return html`<section id="trajectories"><h2>Trajectories</h2><p class="empty">None has been logged yet.</p></section>`;
  }
  const found = new Set(
    stages.flatMap(({ chosen }) => chosen.flatMap(({ pieces }) => pieces.map(([role]) => role))),
  );
  const legend = roleNames.filter((_, role) => found.has(role));
  return html`<section id="trajectories">
<h2>Trajectories</h2>
<p class="note">What the model read and wrote, each token in the colour of its role; what it sampled itself has a tinted ground.
Differences between a written state and the true one are marked. <code>spa show</code> prints all that are logged.</p>
<p class="legend">${legend.map((role) => html`<span class="role-${role} sampled">${role}</span> `)}</p>
${stages.map((stage) => renderStage(stage, traceState))}
</section>`;
}

function renderStage({ stage, logged, chosen }: StageTrajectories, traceState: StateForm): Html {
  const several = new Set(chosen.map(({ step }) => step)).size > 1;
  const solved = chosen.filter(({ success }) => success).length;
  return html`<details class="stage"><summary title="${stage}">${stageTitle(stage)} <span>${chosen.length} of ${logged} logged, ${solved} of them solved</span></summary>
${chosen.map((trajectory) => renderTrajectory(trajectory, traceState, several))}
</details>
`;
}

export function renderTrajectory(
  trajectory: LoggedTrajectory,
  traceState: StateForm,
  withStep: boolean,
): Html {
  const { turns, rest, facts } = viewTrajectory(trajectory, traceState);
  const title = [...(withStep ? [`step ${trajectory.step}`] : []), ...facts].join(" · ");
  const mark = trajectory.success ? html`<b class="good">✓</b>` : html`<b class="bad">✗</b>`;
  return html`<details class="trajectory"><summary>${mark} ${title}</summary>
${turns.map(renderTurn)}
${rest.length > 0 && html`<div class="turn"><pre class="text">${rest.map(renderPiece)}</pre></div>`}
</details>
`;
}

function renderTurn({ number, message, reply, turn, before, after }: ViewTurn): Html {
  const reward = `reward ${formatNumber(turn.reward)}`;
  return html`<div class="turn">
<div><h5>Turn ${number} <span class="${turn.valid ? "tag" : "tag bad"}">${describeActions(turn)}</span> <span class="tag">${reward}</span></h5>
<pre class="text">${message.map(renderPiece)}${reply.map(renderPiece)}</pre></div>
<div class="states">${renderStates("Before", "observation", before)}${renderStates("After", "prediction", after)}</div>
</div>
`;
}

function renderPiece({ role, text, sampled, tokens, meanLogProb }: ViewPiece): Html {
  const probability = meanLogProb === undefined ? "" : `, mean log-prob ${meanLogProb.toFixed(2)}`;
  const title = `${role}, ${tokens} ${tokens === 1 ? "token" : "tokens"}${probability}`;
  return html`<span class="role-${role}${sampled && " sampled"}" title="${title}">${text}</span>`;
}

/** The state that the agent wrote, beside the true one. */
function renderStates(
  when: string,
  what: "observation" | "prediction",
  { truth, difference }: StateComparison,
): Html {
  if (!difference)
    return html`<figure class="state"><figcaption>${when}</figcaption><pre>${truth}</pre></figure>`;
  const verdict = difference.equal ? html`<b class="good">✓ right</b>` : html`<b class="bad">✗ wrong</b>`;
  return html`<figure class="state"><figcaption>${what === "observation" ? "Observed" : "Predicted"} ${verdict}</figcaption>
<pre>${renderLines(difference.written, "wrong")}</pre></figure>
<figure class="state"><figcaption>${when}, truly</figcaption><pre>${renderLines(difference.truth, "missed")}</pre></figure>`;
}

function renderLines(lines: readonly (readonly Fragment[])[], kind: "wrong" | "missed"): Html[] {
  return lines.map((line, index) => {
    const parts = line.map(({ text, same }) =>
      same ? html`${text}` : html`<mark class="${kind}">${text}</mark>`,
    );
    return html`${index > 0 && "\n"}${parts}`;
  });
}
