import { crossChecks } from "./cross-checks.ts";
import { settings } from "./settings.ts";

export { type ArmName, armNames } from "./arms.ts";
export type { Config, PpoConfig } from "./settings.ts";

/** The settings, each right on its own and with the others. */
export const configSchema = settings.superRefine((config, context) => {
  for (const { path, message, isBroken } of crossChecks) {
    if (isBroken(config)) context.addIssue({ code: "custom", path, message, input: config });
  }
});
