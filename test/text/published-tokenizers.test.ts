// Published tokenizer files against the ids of Python's tokenizers library.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../../lib/text/tokenizer.ts";
import { published, publishedFolder, publishedIds, publishedTokenizer } from "./published-tokenizers.ts";

describe.each(published)("%s", (name) => {
  const reference = publishedIds.models[name];
  const tokenizer = publishedTokenizer(name);

  it("is the file that the references were made with", () => {
    const file = readFileSync(join(publishedFolder(name), "tokenizer.json"));
    expect(createHash("sha256").update(file).digest("hex")).toBe(reference.sha256);
    expect(tokenizer.vocabularySize).toBe(reference.vocabularySize);
  });

  it("encodes every string to the same ids", () => {
    for (const [i, text] of publishedIds.strings.entries()) {
      expect([...tokenizer.encode(text)], JSON.stringify(text)).toEqual(reference.ids[i]);
    }
  });

  it("decodes the ids to the text, normalised where the tokenizer normalises", () => {
    for (const [i, text] of publishedIds.strings.entries()) {
      expect(tokenizer.decode(reference.ids[i])).toBe(name === "llama3_2" ? text : text.normalize("NFC"));
    }
  });

  it("encodes whole conversations to the same ids, delimiters as single tokens", () => {
    for (const { text, ids } of reference.chat) {
      expect([...tokenizer.encode(text)]).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(text);
    }
  });
});

it("knows the special tokens by name", () => {
  const qwen3 = publishedTokenizer("qwen3");
  expect(qwen3.tokenId("<|im_end|>")).toBe(151645);
  expect(qwen3.tokenId("<think>")).toBe(151667);
  const llama = publishedTokenizer("llama3_2");
  expect(llama.tokenId("<|begin_of_text|>")).toBe(128000);
  expect(llama.tokenId("<|eot_id|>")).toBe(128009);
  expect([...llama.encode("a")]).toEqual([64]);
});

// Qwen2.5's vocabulary with the pre-tokenizers of GPT-2, SmolLM and Falcon: ids of the tokenizers library, 0.23.
describe("other ways to cut text", () => {
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const digits = (individual_digits: boolean) => ({ type: "Digits", individual_digits });
  const sequence = (...pretokenizers: object[]) => ({ type: "Sequence", pretokenizers });
  const split = { type: "Split", pattern: { Regex: "[0-9][0-9][0-9]" }, behavior: "Isolated", invert: false };
  const texts = ["\r\n\ufeff  1²x", "a \u0085 \n", "٣٤ ½½", "x\ufffd\ufffd"];
  it.each([
    {
      name: "ByteLevel's own pattern",
      pre_tokenizer: bytes,
      ids: [
        [201, 198, 3225, 220, 220, 16, 29456, 87],
        [64, 2139, 227, 715],
        [149, 96, 149, 97, 2139, 121, 26062],
        [87, 9973],
      ],
    },
    {
      name: "single digits",
      pre_tokenizer: sequence(digits(true), bytes),
      ids: [
        [201, 198, 3225, 256, 16, 29456, 87],
        [64, 2139, 227, 715],
        [149, 96, 149, 97, 220, 26062, 26062],
        [87, 9973],
      ],
    },
    {
      name: "punctuation, and digits of the bytes' alphabet",
      pre_tokenizer: sequence({ type: "Punctuation", behavior: "Contiguous" }, bytes, digits(false), split),
      ids: [
        [201, 198, 3225, 220, 220, 16, 126, 110, 87],
        [64, 2139, 227, 715],
        [149, 96, 149, 97, 2139, 121, 126, 121],
        [87, 5564, 121, 5564, 121],
      ],
    },
  ])("$name", ({ pre_tokenizer, ids }) => {
    const json = JSON.parse(readFileSync(join(publishedFolder("qwen2_5"), "tokenizer.json"), "utf8"));
    const file = JSON.stringify({ ...json, normalizer: null, pre_tokenizer });
    const tokenizer = new Tokenizer(new Map([["tokenizer.json", new TextEncoder().encode(file)]]), "variant");
    expect(texts.map((text) => [...tokenizer.encode(text)])).toEqual(ids);
  });
});
