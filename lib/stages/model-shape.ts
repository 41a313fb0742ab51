import type { Config } from "../config/schema.ts";
import { completeModelConfig, type ModelConfig } from "../formats/model-config.ts";
import { readModelConfig } from "../formats/model-folder.ts";
import { CachedRepository } from "../hub/cache.ts";
import { knownModels } from "../hub/known-models.ts";
import { isModelFolder, resolveModel } from "../hub/resolve-model.ts";
import { type HubSettings, hubSettings } from "../hub/settings.ts";
import { nanoTokenizer } from "../text/nano-tokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { WordTokenizer } from "../text/word-tokenizer.ts";
import { nanoShape } from "./base/pretrain.ts";
import { checkModel } from "./prepare-model.ts";
import { openSourceStage } from "./source-stage.ts";

/** What estimates need to know of a model. */
export interface EstimatedModel {
  shape: ModelConfig;
  tokenizer: Tokenizer;
  /** The tokenizer only counts words, for the model's own is not at hand. */
  isStandIn: boolean;
}

/**
 * Shape and tokenizer of a configuration's model, without its weights. The cache serves, then what this package knows
 * of published models; only for others configuration and tokenizer are fetched.
 *
 * @throws SpaError BAD_CHECKPOINT, UNSUPPORTED, BAD_TOKENIZER, BAD_CONFIG, and those of {@link resolveModel} and {@link openSourceStage}
 */
export async function modelForEstimates(config: Config): Promise<EstimatedModel> {
  const { model } = config;
  if (model.kind === "nano") {
    const tokenizer = nanoTokenizer();
    return { shape: completeModelConfig(nanoShape(config, tokenizer)), tokenizer, isStandIn: false };
  }
  if (model.kind === "stage") return describedModel(config, openSourceStage(model).folder);
  const known = knownModels[model.path];
  const settings = hubSettings();
  const isAtHand = isModelFolder(model.path) || isCached(settings, model.path, model.revision);
  if (known && !isAtHand) {
    const shape = completeModelConfig({ ...known, endTokens: [...known.endTokens] });
    return { shape, tokenizer: new WordTokenizer(), isStandIn: true };
  }
  const { folder } = await resolveModel(model.path, {
    revision: model.revision,
    weights: false,
    settings: { ...settings, offline: settings.offline || isAtHand },
  });
  return describedModel(config, folder);
}

async function describedModel(config: Config, folder: string): Promise<EstimatedModel> {
  const shape = await readModelConfig(folder);
  return { shape, tokenizer: checkModel(config, shape, folder), isStandIn: false };
}

function isCached({ cacheFolder }: HubSettings, id: string, revision: string): boolean {
  if (cacheFolder === undefined) return false;
  const repository = new CachedRepository(cacheFolder, id);
  const commit = repository.commitOf(revision);
  return commit !== undefined && repository.missing(commit, false).length === 0;
}
