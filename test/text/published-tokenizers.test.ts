// Published tokenizer files against the ids of Python's tokenizers library.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
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
