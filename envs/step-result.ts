import type { StepResult } from "./environment.ts";
import { shownValue } from "./foreign-value.ts";

/** What is wrong with a value that `step` returned. */
export interface StepFault {
  /** For example `step().info.success is "false", not true or false`. */
  problem: string;
  hint: string;
  /** The value that is wrong. */
  value: unknown;
}

/** Whether `value` is what `step` has to return, or resolve to. Runs at every step of every environment. */
export function isStepResult(value: unknown): value is StepResult {
  if (typeof value !== "object" || value === null) return false;
  const { observation, reward, terminated, truncated, info } = value as Record<string, unknown>;
  if (typeof observation !== "string" || !Number.isFinite(reward)) return false;
  if (typeof terminated !== "boolean" || typeof truncated !== "boolean") return false;
  if (typeof info !== "object" || info === null) return false;
  const { valid, effective, success } = info as Record<string, unknown>;
  return typeof valid === "boolean" && typeof effective === "boolean" && typeof success === "boolean";
}

const FORM =
  "step() returns { observation, reward, terminated, truncated, info: { valid, effective, success } }: " +
  "a text, a number, and true or false for the rest";

/** The names under which other interfaces have what a field means. */
const otherNames: Record<string, RegExp> = {
  observation: /^(next_?)?(obs|state|observation)$/i,
  reward: /^(rew|score|r)$/i,
  terminated: /^(is_?)?(done|terminal|terminated|game_?over)$/i,
  truncated: /truncat|time_?out|time_?limit/i,
  valid: /valid/i,
  effective: /effective|changed/i,
  success: /succe|solved|^won$|^is_?win/i,
};

/** Says what keeps `value` from being a step's result. */
export function stepFault(value: unknown): StepFault {
  if (Array.isArray(value)) {
    const names = ["observation", "reward", "terminated", "truncated", "info"];
    if (value.length === 4) names.splice(2, 2, "done");
    return {
      problem: `step() returned an array of ${value.length}, not an object`,
      hint: `a tuple (${names.join(", ")}) is Gym's form; ${FORM}`,
      value,
    };
  }
  if (typeof value !== "object" || value === null) {
    return { problem: `step() returned ${shownValue(value)}, not an object`, hint: FORM, value };
  }
  const result = value as Record<string, unknown>;
  const info = result.info;
  if (typeof result.observation !== "string") return fieldFault(result, "observation", "a text");
  if (!Number.isFinite(result.reward)) return fieldFault(result, "reward", "a finite number");
  for (const name of ["terminated", "truncated"]) {
    if (typeof result[name] !== "boolean") return fieldFault(result, name, "true or false");
  }
  if (typeof info !== "object" || info === null) return fieldFault(result, "info", "an object");
  const flags = info as Record<string, unknown>;
  const wrong = ["success", "valid", "effective"].find((name) => typeof flags[name] !== "boolean");
  return fieldFault(result, `info.${wrong}`, "true or false");
}

function fieldFault(result: Record<string, unknown>, field: string, wanted: string): StepFault {
  const name = field.replace("info.", "");
  const owner = field === name ? result : (result.info as Record<string, unknown>);
  const value = owner[name];
  const elsewhere = value === undefined ? foundElsewhere(result, field, name) : null;
  return {
    problem: `step().${field} is ${shownValue(value)}, not ${wanted}`,
    hint: elsewhere === null ? FORM : `step() has ${elsewhere} in its place; ${FORM}`,
    value,
  };
}

/** Where a result may have what `field` should hold: the same name in another place, or another interface's name. */
function foundElsewhere(result: Record<string, unknown>, field: string, name: string): string | null {
  const places = Object.keys(result).map((key) => [key, key]);
  if (typeof result.info === "object" && result.info !== null) {
    places.push(...Object.keys(result.info).map((key) => [`info.${key}`, key]));
  }
  const found = places.find(([path, key]) => path !== field && (key === name || otherNames[name]?.test(key)));
  return found?.[0] ?? null;
}
