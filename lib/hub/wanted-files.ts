import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SpaError } from "../errors.ts";
import { chosenWeights, singleWeights, weightsIndex } from "../formats/safetensors.ts";

/** Small files, in the order in which they are fetched; a model may lack all but the first two. */
const smallFiles = [
  "config.json",
  "tokenizer.json",
  "generation_config.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
  "chat_template.json",
];

/** Where a repository keeps templates beside its default one: for tools, for documents. They are saved with a model. */
export const templateFolder = "additional_chat_templates";

/** Whether a repository's path can be joined to a folder's: a plain name, or that of a further chat template. */
export function isPlainPath(path: string): boolean {
  return /^[^/\\]+$/.test(
    path.startsWith(`${templateFolder}/`) ? path.slice(templateFolder.length + 1) : path,
  );
}

/** What to do about files that are the authors' to mend. */
export const brokenRepository = "the repository is incomplete; tell its authors, or choose another revision";

/**
 * Which of a repository's files are needed before the weights: configuration, tokenizer, and the index of the weights
 * where they are in several files. Pickles are never among them.
 *
 * @throws SpaError UNSUPPORTED when there is no config.json, or no safetensors where weights are wanted; BAD_TOKENIZER when
 * there is no tokenizer.json
 */
export function firstFiles(paths: ReadonlySet<string>, id: string, weights: boolean): string[] {
  if (!paths.has("config.json")) {
    throw new SpaError("UNSUPPORTED", `${id} has no config.json: it is no model that can be loaded`, {
      hint: "adapters, GGUF files and the like must be brought into the form of a Hugging Face model first",
    });
  }
  if (!paths.has("tokenizer.json")) {
    throw new SpaError("BAD_TOKENIZER", `${id} has no tokenizer.json`, {
      hint: "load it in transformers, save_pretrained model and tokenizer into a folder, and give that",
    });
  }
  const templates = [...paths].filter(
    (path) => path.startsWith(`${templateFolder}/`) && path.endsWith(".jinja"),
  );
  const small = [...smallFiles.filter((path) => paths.has(path)), ...templates.sort()];
  if (!weights) return small;
  if (paths.has(weightsIndex)) return [...small, weightsIndex];
  if (paths.has(singleWeights)) return small;
  throw new SpaError("UNSUPPORTED", `${id} has no safetensors: no ${singleWeights} and no ${weightsIndex}`, {
    hint: "pickles (pytorch_model.bin) are not loaded, for they can run code; choose a model with safetensors",
  });
}

/**
 * The files of weights: the single one, or those that a snapshot's index names.
 *
 * @throws SpaError BAD_CHECKPOINT when there are both, or the index is none
 */
export function weightFiles(paths: ReadonlySet<string>, snapshot: string, id: string): readonly string[] {
  const named = paths.has(weightsIndex) ? shards(join(snapshot, weightsIndex)) : undefined;
  return chosenWeights(named, (file) => paths.has(file), id);
}

/** @throws SpaError BAD_CHECKPOINT when the index is no index, or names what is no file beside it */
function shards(index: string): string[] {
  let files: unknown[];
  try {
    const { weight_map: map } = JSON.parse(readFileSync(index, "utf8")) as { weight_map: object };
    files = [...new Set(Object.values(map))].sort();
  } catch (error) {
    throw new SpaError("BAD_CHECKPOINT", `${index} is no index of weights: ${(error as Error).message}`, {
      hint: brokenRepository,
      cause: error,
    });
  }
  for (const file of files) {
    if (typeof file !== "string" || !/^[^/\\]+\.safetensors$/.test(file)) {
      throw new SpaError(
        "BAD_CHECKPOINT",
        `${index} names ${JSON.stringify(file)}, which is no safetensors file`,
        { hint: brokenRepository },
      );
    }
  }
  return files as string[];
}

/** What a folder lacks to be a model (or, without weights, its configuration and tokenizer). */
export function missingFiles(folder: string, weights: boolean): string[] {
  const has = (name: string) => existsSync(join(folder, name));
  const small = ["config.json", "tokenizer.json"].filter((name) => !has(name));
  if (!weights || has(singleWeights)) return small;
  if (!has(weightsIndex)) return [...small, singleWeights];
  return [...small, ...shards(join(folder, weightsIndex)).filter((name) => !has(name))];
}
