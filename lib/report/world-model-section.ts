import type { Evaluations } from "../run/evaluation.ts";
import type { Perplexity, Share, StateQuality, WorldModelQuality } from "../run/world-model.ts";
import { figure, percent } from "./format.ts";
import { type Html, html } from "./html.ts";
import { policyTitle } from "./names.ts";

type Column<T> = [title: string, share: (quality: T) => Share | undefined];

interface Row<T> {
  policy: string;
  what?: string;
  quality: T;
}

/** How well policies know states and what actions do; undefined where none writes states. */
export function worldModelTables(policies: readonly string[], evaluations: Evaluations): Html | undefined {
  const known = policies.flatMap((policy): Row<WorldModelQuality>[] => {
    const { worldModel: quality } = evaluations[policy];
    return quality === undefined ? [] : [{ policy, quality }];
  });
  if (known.length === 0) return undefined;
  const states = known.flatMap(({ policy, quality }): Row<StateQuality>[] => [
    { policy, what: "observation", quality: quality.observation },
    { policy, what: "prediction", quality: quality.prediction },
  ]);
  return html`<h3>World model</h3>
<p class="note">Per cent of turns whose text is the true state: in all, by whether the turn changed the state, by the number of actions in the answer, and by
part of the state; of cells, per cent of all grids' cells. Move over a figure to see of how many it is.</p>
${table(states, stateColumns(states.map(({ quality }) => quality)))}
<p class="note">Carried out: turns that end in the state they predict, of those whose observation is right. Success: of trajectories, by whether their first
prediction is right.</p>
${table(known, usageColumns)}
${fitTable(known)}`;
}

/** How well models foretell true states, in nats. */
function fitTable(known: readonly Row<WorldModelQuality>[]): Html | undefined {
  const rows = known.flatMap(({ policy, quality }) =>
    quality.perplexity ? [{ policy, perplexity: quality.perplexity }] : [],
  );
  if (rows.length === 0) return undefined;
  const states = ["observation", "prediction", "predictionChanged"] as const;
  const text = (value: number | null) => (value === null ? "–" : figure(value));
  const cells = (perplexity: Perplexity) =>
    states.map(
      (state) =>
        html`<td>${text(perplexity[state].natsPerState)}</td><td>${text(perplexity[state].perplexity)}</td>`,
    );
  return html`<p class="note">How well the model foretells the true states of random play on tuning levels: nats for a whole state, and perplexity per token.</p>
<div class="scroll"><table class="world-model">
<thead><tr><th scope="col">Policy</th>${["Observation", "Prediction", "… where the state changed"].map((title) => html`<th scope="col">${title}, nats</th><th scope="col">perplexity</th>`)}</tr></thead>
<tbody>${rows.map(
    ({ policy, perplexity }) => html`<tr><th scope="row">${policyTitle(policy)}</th>${cells(perplexity)}</tr>
`,
  )}</tbody></table></div>`;
}

const usageColumns: readonly Column<WorldModelQuality>[] = [
  ["Carried out", ({ followed }) => followed],
  ["Success, first prediction right", ({ success }) => success.firstRight],
  ["… wrong", ({ success }) => success.firstWrong],
];

function stateColumns(qualities: readonly StateQuality[]): Column<StateQuality>[] {
  const keys = (records: readonly Record<string, Share>[]) => [...new Set(records.flatMap(Object.keys))];
  const counts = keys(qualities.map(({ byActions }) => byActions)).sort((a, b) => Number(a) - Number(b));
  const parts = keys(qualities.map((quality) => quality.parts));
  return [
    ["All", ({ all }) => all],
    ["Changed", ({ changed }) => changed],
    ["Unchanged", ({ unchanged }) => unchanged],
    ...counts.map(
      (count): Column<StateQuality> => [
        count === "1" ? "1 action" : `${count} actions`,
        ({ byActions }) => byActions[count],
      ],
    ),
    ...parts.map((part): Column<StateQuality> => [part, (quality) => quality.parts[part]]),
    ["Cells", ({ cells }) => cells],
  ];
}

function table<T>(rows: readonly Row<T>[], columns: readonly Column<T>[]): Html {
  return html`<div class="scroll"><table class="world-model">
<thead><tr><th scope="col">Policy</th>${columns.map(([title]) => html`<th scope="col">${title}</th>`)}</tr></thead>
<tbody>${rows.map(
    ({
      policy,
      what,
      quality,
    }) => html`<tr><th scope="row">${policyTitle(policy)}${what && html`<small>${what}</small>`}</th>
${columns.map(([, share]) => cell(share(quality)))}</tr>
`,
  )}</tbody></table></div>`;
}

function cell(share: Share | undefined): Html {
  return html`<td title="of ${share?.count ?? 0}">${percent(share?.share)}</td>`;
}
