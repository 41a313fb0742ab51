import { resolve } from "node:path";
import { isModelFolder } from "../hub/resolve-model.ts";
import type { Config } from "./schema.ts";

/** Paths as they are from the working directory, so that a run can be resumed from any. */
export function withAbsolutePaths(config: Config): Config {
  const { model, environment, sft } = config;
  return {
    ...config,
    sft: { ...sft, data: sft.data && resolve(sft.data) },
    model: withAbsolutePath(model),
    environment: { ...environment, module: environment.module && resolve(environment.module) },
  };
}

function withAbsolutePath(model: Config["model"]): Config["model"] {
  if (model.kind === "stage") return { ...model, run: resolve(model.run) };
  if (model.kind === "pretrained" && isModelFolder(model.path))
    return { ...model, path: resolve(model.path) };
  return model;
}
