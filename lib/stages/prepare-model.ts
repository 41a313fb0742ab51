import type { Config } from "../config/schema.ts";
import { SpaError } from "../errors.ts";
import { completeModelConfig, type ModelConfig } from "../formats/model-config.ts";
import { readModelConfig, readModelFolder } from "../formats/model-folder.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import type { Progress } from "../run/progress.ts";
import { chatFormatOf } from "../text/chat-format.ts";
import { nanoTokenizer } from "../text/nano-tokenizer.ts";
import { checkTokenizerFits, loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { nanoShape } from "./base/pretrain.ts";
import { showDownload } from "./show-download.ts";
import { checkWeights, openSourceStage } from "./source-stage.ts";

/** A configuration's model, ready to be loaded. */
export interface PreparedModel {
  /**
   * The configuration with the commit in place of a Hub model's revision, and the digest of another run's checkpoint: that
   * is what a run folder keeps.
   */
  config: Config;
  /** Where a pretrained model's files are; null where the run trains its own base. */
  folder: string | null;
  tokenizer: Tokenizer;
  shape: ModelConfig;
}

/**
 * Makes a configuration's model ready before anything else is done: fetches what is missing, and checks all files (but
 * for the weights' numbers), that the tokenizer fits, that its chat template can be followed, and that a trajectory finds
 * room. Of a model that is fetched, weights come after the other checks.
 *
 * @throws SpaError BAD_CHECKPOINT, UNSUPPORTED, BAD_TOKENIZER, BAD_CONFIG, and those of {@link resolveModel} and
 * {@link openSourceStage}
 */
export async function prepareModel(
  config: Config,
  { signal, progress }: { signal?: AbortSignal | undefined; progress?: Progress | undefined } = {},
): Promise<PreparedModel> {
  const { model } = config;
  if (model.kind === "nano") {
    const tokenizer = nanoTokenizer();
    return { config, folder: null, tokenizer, shape: completeModelConfig(nanoShape(config, tokenizer)) };
  }
  if (model.kind === "stage") {
    const source = openSourceStage(model);
    await checkWeights(source);
    const shape = await readModelConfig(source.folder);
    const tokenizer = checkModel(config, shape, source.folder);
    const pinned = { ...config, model: { ...model, run: source.run.path, digest: source.digest } };
    return { config: pinned, folder: source.folder, tokenizer, shape };
  }
  const { folder, commit } = await resolveModel(model.path, {
    revision: model.revision,
    signal,
    beforeWeights: async (folder) => {
      checkModel(config, await readModelConfig(folder), folder);
    },
    ...(progress && showDownload(progress, model.path)),
  });
  const { config: shape } = await readModelFolder(folder);
  const tokenizer = checkModel(config, shape, folder);
  const pinned = commit === null ? config : { ...config, model: { ...model, revision: commit } };
  return { config: pinned, folder, tokenizer, shape };
}

/**
 * Checks what can be checked of a model in a folder without its weights. Gives its tokenizer.
 *
 * @throws SpaError BAD_TOKENIZER, BAD_CONFIG
 */
export function checkModel({ protocol }: Config, shape: ModelConfig, folder: string): Tokenizer {
  const tokenizer = loadTokenizer(folder);
  checkTokenizerFits(tokenizer, shape.vocabularySize, shape.endTokens);
  chatFormatOf(tokenizer);
  if (protocol.maxTokens > shape.maxPositions) {
    throw new SpaError(
      "BAD_CONFIG",
      `protocol.maxTokens is ${protocol.maxTokens}, but the model in ${folder} has ${shape.maxPositions} positions`,
      { hint: `set protocol.maxTokens to ${shape.maxPositions} at most, or choose another model` },
    );
  }
  return tokenizer;
}
