import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** GPT-2's byte alphabet, written down from its definition. */
function byteAlphabet(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) =>
    (byte > 32 && byte < 127) || (byte > 160 && byte < 173) || byte > 173
      ? String.fromCodePoint(byte)
      : String.fromCodePoint(next++),
  );
}

/** Merges that cross from tags into text and back, as byte-level BPE vocabularies have them. */
const merges: [string, string][] = [
  ["t", "h"],
  [">", "#"],
  ["#", "#"],
  ["##", "<"],
  ["<", "/"],
  [">", "<"],
  ["><", "/"],
  [">", "U"],
  [">U", "p"],
  ["U", "p"],
  ["n", "</"],
  ["_", "</"],
  ["Ċ", "#"],
  ["Ã", "©"],
];

/** A byte-level BPE tokenizer.json of 256 bytes, a few merges and ChatML's special tokens. */
export function tinyBpe(mergeFormat: "text" | "pair" = "pair"): Record<string, unknown> {
  const vocabulary = [...byteAlphabet(), ...merges.map(([a, b]) => a + b)];
  const vocab = Object.fromEntries(vocabulary.map((token, id) => [token, id]));
  const special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
  return {
    version: "1.0",
    added_tokens: special.map((content, i) => ({
      id: vocabulary.length + i,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab,
      merges: mergeFormat === "pair" ? merges : merges.map((pair) => pair.join(" ")),
    },
  };
}

/** A fresh folder with `tokenizer.json`. */
export function writeTokenizerFolder(json: unknown): string {
  const folder = mkdtempSync(join(tmpdir(), "spa-tokenizer-"));
  writeFileSync(join(folder, "tokenizer.json"), typeof json === "string" ? json : JSON.stringify(json));
  return folder;
}
