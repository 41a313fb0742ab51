import { chosenSettings, type PlannedArm, type PlannedRun } from "./plan.ts";

/** What an arm is. */
export interface ArmDescription {
  about: string;
  /** Those in which the arms differ; `start`: the run and stage that it starts from. */
  settings: { [name: string]: unknown };
  /** Its run folders, one a seed. */
  folders: string[];
}

/** What the arms are, and the settings in which they differ, as of the first seed. */
export function describeArms(arms: readonly PlannedArm[]): { [arm: string]: ArmDescription } {
  const settings = arms.map(({ runs }) => startAnd(runs[0]));
  const names = [...new Set(settings.flatMap((own) => Object.keys(own)))];
  const differing = names.filter((name) => {
    const values = new Set(settings.map((own) => JSON.stringify(own[name])));
    return values.size > 1 && name !== "arms";
  });
  const ownOf = (own: { [name: string]: unknown }) =>
    Object.fromEntries(differing.flatMap((name) => (name in own ? [[name, own[name]]] : [])));
  return Object.fromEntries(
    arms.map(({ arm: { name, about }, runs }, index) => [
      name,
      { about, settings: ownOf(settings[index]), folders: runs.map(({ folder }) => folder) },
    ]),
  );
}

/** A run's settings, those of its world model among them, and what it starts from where that is not the base. */
function startAnd(run: PlannedRun): { [name: string]: unknown } {
  const worldModel = run.after?.kind === "world-model" ? run.after : undefined;
  const sections = worldModel && { selfPlay: worldModel.config.selfPlay, sft: worldModel.config.sft };
  const own = chosenSettings({ ...run.config, ...sections, model: run.shape });
  const { after, config } = worldModel ?? run;
  if (after === undefined || after.kind === "base" || config.model.kind !== "stage") return own;
  return { ...own, start: `${after.name}#${config.model.stage}` };
}
