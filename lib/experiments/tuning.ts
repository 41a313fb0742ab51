import { SpaError } from "../errors.ts";
import { readResults } from "../run/results.ts";
import { trainedPolicies } from "../stages/schedule.ts";
import type { Arm, Experiment } from "./experiment.ts";
import type { ExperimentPlan } from "./plan.ts";

/** What settings of PPO every arm was tried with, and which it was then run with: the same budget for all. */
export interface Tuning {
  /** The seed of the trials, which is none of the results'. */
  seed: number;
  /** Settings over the arm's own, a list a trial. */
  candidates: readonly (readonly string[])[];
  arms: { [arm: string]: TunedArm };
}

/** An arm's trials. */
interface TunedArm {
  /** Pass@1 on the tuning levels, by candidate; null where a trial has not ended. */
  passAt1: (number | null)[];
  /** The best one, of equals the first; null while none has ended. */
  chosen: number | null;
}

/** The seed that trials have: settings must not be chosen by a seed that is reported. */
export const TUNING_SEED = 0;

/** Settings that the control arm reads in a section of its own, by those of PPO that they stand for. */
const controlNames: readonly (readonly [ppo: RegExp, control: string])[] = [
  [/^ppo\.optimizer\./, "control.optimizer."],
  [/^ppo\.criticOptimizer\./, "control.criticOptimizer."],
  [/^ppo\.mask=/, "control.mask="],
  [/^ppo\.loss\.entropyCoefficient=/, "control.entropyCoefficient="],
];

/**
 * Every combination of the values that are to be tried, such as `ppo.optimizer.learningRate=1e-4,3e-4`: the first one has
 * the first value of each.
 *
 * @throws SpaError BAD_CONFIG for what is no setting of PPO with values
 */
export function candidatesOf(tune: readonly string[]): string[][] {
  let candidates: string[][] = [[]];
  for (const text of tune) {
    const [, name, values] = text.match(/^(ppo\.[\w.]+)=(.+)$/s) ?? [];
    if (name === undefined) {
      throw new SpaError("BAD_CONFIG", `"${text}" is no setting of PPO with values to try`, {
        hint: "such as ppo.optimizer.learningRate=1e-4,3e-4: every arm has PPO, so all get the same trials",
      });
    }
    // Not the commas within a list or an object.
    const settings = values.split(/,(?![^[{]*[\]}])/).map((value) => `${name}=${value.trim()}`);
    candidates = candidates.flatMap((before) => settings.map((setting) => [...before, setting]));
  }
  return candidates;
}

/**
 * An experiment that tries some arms of another, evaluated on tuning levels. The other's own stand in it too, for what starts from
 * them.
 *
 * @returns the experiment, and the names of its arms that are trials
 */
export function trialsOf(
  experiment: Experiment,
  arms: readonly Arm[],
  candidates: Tuning["candidates"],
): { experiment: Experiment; names: string[] } {
  const trials = arms
    .filter(({ trains }) => trains !== null)
    .flatMap((arm) =>
      candidates.map((candidate, index) => ({
        ...withSettings(arm, candidate),
        name: trialName(arm, index),
      })),
    );
  const tried: Experiment = {
    ...experiment,
    name: `${experiment.name}, trials`,
    settings: (config) => [...(experiment.settings?.(config) ?? []), "evaluation.split=tuning"],
    arms: (config) => [...experiment.arms(config), ...trials],
  };
  return { experiment: tried, names: trials.map(({ name }) => name) };
}

/** What the trials of a plan have come to. */
export function readTuning(
  plan: ExperimentPlan,
  candidates: Tuning["candidates"],
  arms: readonly Arm[],
): Tuning {
  const rateOf = (arm: Arm, index: number): number | null => {
    const trial = plan.arms.find((planned) => planned.arm.name === trialName(arm, index));
    const results = trial && readResults(trial.runs[0].folder);
    const policy = trainedPolicies[arm.trains === "control" ? "control" : "format-only"];
    return results?.evaluations[policy]?.passAt1 ?? null;
  };
  const tuned = arms.map((arm): [string, TunedArm] => {
    const passAt1 = candidates.map((_, index) => rateOf(arm, index));
    const best = passAt1.reduce((most: number, rate) => Math.max(most, rate ?? -1), -1);
    return [arm.name, { passAt1, chosen: best < 0 ? null : passAt1.indexOf(best) }];
  });
  return { seed: TUNING_SEED, candidates, arms: Object.fromEntries(tuned) };
}

/** The experiment with every arm's best settings. */
export function tunedExperiment(experiment: Experiment, { candidates, arms }: Tuning): Experiment {
  const tuned = (arm: Arm) => {
    const chosen = arms[arm.name]?.chosen ?? null;
    return chosen === null ? arm : withSettings(arm, candidates[chosen]);
  };
  return { ...experiment, arms: (config) => experiment.arms(config).map(tuned) };
}

function trialName({ name }: Arm, index: number): string {
  return `${name} trial ${index + 1}`;
}

function withSettings(arm: Arm, settings: readonly string[]): Arm {
  const own =
    arm.trains === "control"
      ? settings.map((setting) =>
          controlNames.reduce((text, [ppo, control]) => text.replace(ppo, control), setting),
        )
      : settings;
  return { ...arm, ppo: [...(arm.ppo ?? []), ...own] };
}
