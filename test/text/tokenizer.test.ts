import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { SpaError } from "../../lib/errors.ts";
import { checkTokenizerFits, loadTokenizer } from "../../lib/text/tokenizer.ts";
import { tinyBpe, writeTokenizerFolder } from "./tiny-bpe.ts";

const folders: string[] = [];
function folderOf(json: unknown): string {
  const folder = writeTokenizerFolder(json);
  folders.push(folder);
  return folder;
}
afterAll(() => {
  for (const folder of folders) {
    rmSync(folder, { recursive: true });
  }
});

function errorOf(action: () => unknown): SpaError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(SpaError);
    return error as SpaError;
  }
  throw new Error("nothing was thrown");
}

describe("loadTokenizer", () => {
  it("reads merges written as text and as pairs alike", () => {
    const text = loadTokenizer(folderOf(tinyBpe("text")));
    const pair = loadTokenizer(folderOf(tinyBpe("pair")));
    const sample = "<think>####\n#_P</think>é<|im_end|>";
    expect([...text.encode(sample)]).toEqual([...pair.encode(sample)]);
    expect(pair.vocabularySize).toBe(256 + 14 + 3);
    expect(pair.tokenId("<|im_end|>")).toBe(272);
    expect(pair.tokenId("no such token")).toBeUndefined();
  });

  it("merges by rank and recognises special tokens, adding none", () => {
    const tokenizer = loadTokenizer(folderOf(tinyBpe()));
    const pieces = [...tokenizer.encode(">###<|im_end|>é")].map((id) => tokenizer.decode([id]));
    expect(pieces).toEqual([">#", "##", "<|im_end|>", "é"]);
    expect(tokenizer.encode("")).toEqual(new Int32Array());
  });

  it("decodes what it encodes, for any text", () => {
    const tokenizer = loadTokenizer(folderOf(tinyBpe()));
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
    );
    expect(tokenizer.decode(tokenizer.encode("\ufeffa\u0000"))).toBe("\ufeffa\u0000");
  });

  it("takes half a surrogate pair for the character that it becomes in UTF-8", () => {
    const bytes = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
    const split = { type: "Split", pattern: { Regex: "#\\p{So}" }, behavior: "Isolated", invert: false };
    const pre_tokenizer = { type: "Sequence", pretokenizers: [split, bytes] };
    const tokenizer = loadTokenizer(folderOf({ ...tinyBpe(), pre_tokenizer }));
    expect(tokenizer.encode("##\ud800")).toEqual(tokenizer.encode("##\ufffd"));
    expect(tokenizer.decode(tokenizer.encode("a\udc00\ud800b"))).toBe("a\ufffd\ufffdb");
  });

  it("decodes ids of a padded vocabulary to nothing and refuses what is no id", () => {
    const tokenizer = loadTokenizer(folderOf(tinyBpe()));
    expect(tokenizer.decode([65, 5000, 66])).toBe("AB");
    expect(errorOf(() => tokenizer.decode([-1])).code).toBe("BAD_ARGUMENT");
    expect(errorOf(() => tokenizer.decode([1.5])).code).toBe("BAD_ARGUMENT");
  });

  it("writes its files back byte for byte", () => {
    const source = folderOf(tinyBpe());
    writeFileSync(join(source, "tokenizer_config.json"), '{ "eos_token": "<|im_end|>" }');
    const target = join(mkdtempSync(join(tmpdir(), "spa-save-")), "deeper");
    folders.push(join(target, ".."));
    loadTokenizer(source).save(target);
    for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
      expect(readFileSync(join(target, name))).toEqual(readFileSync(join(source, name)));
    }
    expect(errorOf(() => loadTokenizer(source).save(join(source, "tokenizer.json"))).code).toBe(
      "BAD_ARGUMENT",
    );
  });

  const withModel = (change: Record<string, unknown>): unknown => {
    const json = tinyBpe();
    return { ...json, model: { ...(json.model as object), ...change } };
  };
  const withVocab = (change: Record<string, unknown>): unknown => {
    const { vocab } = tinyBpe().model as { vocab: Record<string, number> };
    return withModel({ vocab: { ...vocab, ...change } });
  };
  const cutBy = (step: object): unknown => ({ ...tinyBpe(), pre_tokenizer: step });
  it.each<[string, unknown, RegExp]>([
    ["broken JSON", '{"model": ', /no JSON/],
    ["another JSON value", "[1]", /no JSON object/],
    ["no model", {}, /no "model"/],
    ["another model type", withModel({ type: "Unigram" }), /type "Unigram"/],
    ["no merges", withModel({ merges: undefined }), /merges/],
    ["broken merges", withModel({ merges: [["a"]] }), /merges/],
    ["no vocabulary", withModel({ vocab: undefined }), /vocab/],
    ["an id that is no number", withVocab({ A: "7" }), /"A" the id "7"/],
    ["an id given twice", withVocab({ A: 66 }), /the id 66 to "A" and "B"/],
    ["a missing byte", withVocab({ Z: undefined }), /byte 0x5a/],
    ["broken added tokens", { ...tinyBpe(), added_tokens: [{ content: "x" }] }, /added_tokens/],
    ["another decoder", { ...tinyBpe(), decoder: { type: "WordPiece" } }, /WordPiece/],
    ["no decoder", { ...tinyBpe(), decoder: null }, /decoder/],
    ["an unknown normalizer", { ...tinyBpe(), normalizer: { type: "Rot13" } }, /normalizer of type "Rot13"/],
    ["merges left to chance", withModel({ dropout: 0.1 }), /model.dropout" 0.1/],
    ["endings of words", withModel({ end_of_word_suffix: "</w>" }), /end_of_word_suffix" "<\/w>"/],
    ["another pre-tokenizer", cutBy({ type: "Metaspace" }), /pre-tokenizer of type "Metaspace"/],
    ["a blank before texts", cutBy({ type: "ByteLevel", add_prefix_space: true }), /add_prefix_space/],
    [
      "another way to split",
      cutBy({ type: "Split", pattern: { String: "_" }, behavior: "MergedWithNext", invert: false }),
      /Split pre-tokenizer with behavior "MergedWithNext"/,
    ],
    [
      "tokens between blanks only",
      { ...tinyBpe(), added_tokens: [{ id: 270, content: "<x>", single_word: true }] },
      /"<x>" with single_word/,
    ],
  ])("names what is wrong: %s", (_, json, message) => {
    const error = errorOf(() => loadTokenizer(folderOf(json)));
    expect(error.code).toBe("BAD_TOKENIZER");
    expect(error.message).toMatch(message);
    expect(error.hint).toBeTruthy();
  });

  it("names tokens that only tokenizer_config.json has", () => {
    const token = (id: number, content: string) => ({ added_tokens_decoder: { [id]: { content } } });
    const load = (config: object) => {
      const folder = folderOf(tinyBpe());
      writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(config));
      return loadTokenizer(folder);
    };
    expect(load(token(272, "<|im_end|>")).vocabularySize).toBe(273);
    for (const config of [token(273, "<x>"), token(273, "<|im_end|>")]) {
      expect(errorOf(() => load(config)).message).toMatch(/adds "<.*>" as 273, tokenizer.json does not/);
    }
  });

  it("names a missing file, a missing folder and a broken config", () => {
    const folder = mkdtempSync(join(tmpdir(), "spa-empty-"));
    folders.push(folder);
    expect(errorOf(() => loadTokenizer(folder)).message).toContain(`no tokenizer.json in ${folder}`);
    expect(errorOf(() => loadTokenizer(join(folder, "nowhere"))).code).toBe("BAD_TOKENIZER");
    writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tinyBpe()));
    writeFileSync(join(folder, "tokenizer_config.json"), "{");
    expect(errorOf(() => loadTokenizer(folder)).message).toContain("tokenizer_config.json");
  });
});

describe("checkTokenizerFits", () => {
  it("accepts a padded vocabulary and refuses a smaller one", () => {
    const tokenizer = loadTokenizer(folderOf(tinyBpe()));
    checkTokenizerFits(tokenizer, 273);
    checkTokenizerFits(tokenizer, 512);
    const error = errorOf(() => checkTokenizerFits(tokenizer, 272));
    expect(error.code).toBe("BAD_TOKENIZER");
    expect(error.message).toContain("273");
  });

  it("refuses a model that ends with a token of another tokenizer", () => {
    const tokenizer = loadTokenizer(folderOf(tinyBpe()));
    checkTokenizerFits(tokenizer, 512, [272, 270]);
    const error = errorOf(() => checkTokenizerFits(tokenizer, 512, [272, 300]));
    expect(error.code).toBe("BAD_TOKENIZER");
    expect(error.message).toContain("token 300");
  });
});
