// Whether the tensors of an adapter's file are those that a model has places for, and if not, what is wrong with them.

import { SpaError } from "../errors.ts";
import type { StoredTensor } from "./safetensors.ts";

interface Place {
  name: string;
  shape: readonly number[];
}

const merge =
  "merge it into its base model with PEFT (merge_and_unload), save that, and load it as a whole model";

/** What tensors without a place are of, by their names. */
const foreign: readonly { name: RegExp; hint: (tensor: StoredTensor) => string }[] = [
  {
    name: /embed_tokens|lm_head|lora_embedding_/,
    hint: ({ shape: [rows] }) =>
      "the adapter has embeddings inside, which PEFT saves when they were trained or resized, and this engine does not handle: " +
      `${merge} (where the vocabulary has grown, base.resize_token_embeddings(${rows}) comes first)`,
  },
  { name: /lora_magnitude_vector/, hint: () => `the adapter was trained with DoRA: ${merge}` },
  { name: /modules_to_save|original_module/, hint: () => `the adapter has whole modules inside: ${merge}` },
  { name: /\.bias$/, hint: () => `the adapter has biases inside: ${merge}` },
  {
    name: /base_layer\./,
    hint: () => "the base model's weights are inside: save the adapter with PEFT's save_pretrained",
  },
  {
    name: /\.lora_[AB]\b/,
    hint: () =>
      "the adapter has other layers than the model, or other modules than the target_modules of its adapter_config.json",
  },
];

const another =
  "the adapter belongs to another model, or to other target_modules than its configuration names";

/**
 * Refuses the first tensor that is missing, of another shape than the model has it, or left over.
 *
 * @throws SpaError `BAD_ADAPTER` naming it and, where there is one, the tensor that stands in its place
 */
export function checkAdapterFits(
  file: string,
  stored: ReadonlyMap<string, StoredTensor>,
  places: readonly Place[],
): void {
  const names = new Set(places.map(({ name }) => name));
  const extra = [...stored.values()]
    .filter(({ name }) => !names.has(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const misfit = (message: string, hint: string) =>
    new SpaError("BAD_ADAPTER", `${file}: ${message}`, { hint });
  for (const place of places) {
    const tensor = stored.get(place.name);
    if (tensor === undefined) {
      const other = extra.find(({ name }) => bareName(name) === bareName(place.name));
      const missing = `tensor ${place.name} is missing`;
      if (other === undefined) throw misfit(missing, extra.length > 0 ? hintFor(extra[0]) : another);
      throw misfit(
        `${missing}; ${other.name} stands in its place`,
        "tensors must have the names that PEFT's save_pretrained gives them: save the adapter with it, or rename them in the file",
      );
    } else if (!sameShape(tensor.shape, place.shape)) {
      const message = `tensor ${place.name} has the shape [${tensor.shape}], the model needs [${place.shape}]`;
      throw misfit(message, hintForShape(tensor, place));
    }
  }
  if (extra.length > 0) throw misfit(`tensor ${extra[0].name} has no place in the model`, hintFor(extra[0]));
}

function hintFor(tensor: StoredTensor): string {
  return foreign.find(({ name }) => name.test(tensor.name))?.hint(tensor) ?? another;
}

function hintForShape({ name, shape }: StoredTensor, place: Place): string {
  const rankAt = name.includes("lora_A") ? 0 : name.includes("lora_B") ? 1 : undefined;
  if (rankAt !== undefined && shape.length === 2) {
    const [rank, other] = [shape[rankAt], shape[1 - rankAt]];
    if (other === place.shape[1 - rankAt]) {
      return `adapter_config.json says r is ${place.shape[rankAt]}, but this adapter is of rank ${rank}: use the configuration that it was saved with`;
    }
    if (sameShape(shape.toReversed(), place.shape)) {
      return "rows and columns are exchanged, as for layers with fan_in_fan_out: save the adapter with PEFT's save_pretrained";
    }
  }
  return another;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/** A tensor's name without what programs put before PEFT's names, leave out of them, or add (`lora_A.default.weight`). */
function bareName(name: string): string {
  return name
    .replace(/\b(?:_orig_mod|_fsdp_wrapped_module|module)\./g, "")
    .replace(/^(?:(?:base_model|model)\.)*/, "")
    .replace(/\.(lora_[AB])(?:\.[^.]+)??(?:\.weight)?$/, ".$1");
}
