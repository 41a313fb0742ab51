import { z } from "zod";
import type { Interval } from "../../addon/arguments.ts";
import {
  type LossField,
  type LossTerms,
  lossFieldEntries,
  lossFields,
  type RunLossField,
} from "../../addon/loss-fields.ts";

/** The settings that are fields of the loss. */
export type LossSettings = {
  [Name in RunLossField]: z.ZodDefault<z.ZodType<LossTerms[Name], LossTerms[Name]>>;
};

/** Their names, in the order of docs/configuration.md. */
export const runLossFields = lossFieldEntries.flatMap(([name, { run }]) =>
  run === null ? [] : [name as RunLossField],
);

/** A field of the loss as a setting of a run. */
export function lossSetting<Name extends RunLossField>(name: Name): LossSettings[Name] {
  const { about, range, choices, nullable, default: standard, run }: LossField = lossFields[name];
  const value = choices ? z.enum(choices) : numberIn(run?.range ?? range ?? {});
  const field: z.ZodType = nullable ? value.nullable() : value;
  return field.default(run?.default ?? standard).describe(about) as LossSettings[Name];
}

function numberIn({ above, atLeast, below, atMost }: Interval): z.ZodNumber {
  let number = z.number();
  if (above !== undefined) number = number.gt(above);
  if (atLeast !== undefined) number = number.min(atLeast);
  if (below !== undefined) number = number.lt(below);
  if (atMost !== undefined) number = number.max(atMost);
  return number;
}
