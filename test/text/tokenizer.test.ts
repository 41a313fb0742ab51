import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { SpaError } from "../../lib/errors.ts";
import { regExpOf } from "../../lib/text/oniguruma.ts";
import { checkTokenizerFits, loadTokenizer, Tokenizer } from "../../lib/text/tokenizer.ts";
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
      "FILE_FAILED",
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
  const bytes = { type: "ByteLevel", add_prefix_space: false };
  const split = (Regex: string): unknown =>
    cutBy({
      type: "Sequence",
      pretokenizers: [{ type: "Split", pattern: { Regex }, behavior: "Isolated" }, bytes],
    });
  const withAdded = (...tokens: object[]): object => ({
    ...tinyBpe(),
    added_tokens: [
      ...(tinyBpe().added_tokens as object[]),
      ...tokens.map((token) => ({ id: 273, content: "<x>", ...token })),
    ],
  });
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
    ["a merge of three", withModel({ merges: ["a b c"] }), /merges/],
    ["a merge of what is no token", withModel({ merges: [["a", "zz"]] }), /"zz" is not in its vocabulary/],
    ["a merge to what is no token", withModel({ merges: [["q", "z"]] }), /"qz" is not in its vocabulary/],
    ["an id beyond 32 bits", withVocab({ A: 2 ** 32 + 65 }), /"A" the id 4294967361/],
    ["characters in place of bytes", cutBy({ type: "Digits" }), /ByteLevel decoder but no ByteLevel pre-tok/],
    ["no pre-tokenizer", { ...tinyBpe(), pre_tokenizer: null }, /ByteLevel decoder but no ByteLevel pre-tok/],
    [
      "bytes of bytes",
      cutBy({ type: "Sequence", pretokenizers: [bytes, bytes] }),
      /two ByteLevel pre-tokenizers/,
    ],
    ["a Sequence without steps", cutBy({ type: "Sequence" }), /Sequence of pre-tokenizers without a list/],
    ["a step that is none", cutBy({ type: "Sequence", pretokenizers: [null] }), /type undefined/],
    ["a normalizer that is none", { ...tinyBpe(), normalizer: "NFC" }, /normalizer that is no object/],
    ["added tokens with odd flags", withAdded({ lstrip: "yes" }), /"<x>" the lstrip "yes"/],
    ["an added token whose id is taken", withAdded({ id: 280 }), /"<x>" with the id 280, .* gives it 273/],
    [
      "added tokens with one normal form",
      {
        ...withAdded({ content: "ﬁ", normalized: true }, { id: 274, content: "fi", normalized: true }),
        normalizer: { type: "NFKC" },
      },
      /which are normalised to the same/,
    ],
    ...[{}, null, "_", [], { Regex: 5 }, { String: null }, { Regex: "a", String: "a" }].map(
      (pattern): [string, unknown, RegExp] => [
        `a Split step with the pattern ${JSON.stringify(pattern)}`,
        cutBy({ type: "Split", pattern, behavior: "Isolated", invert: false }),
        /neither { "Regex": … } nor { "String": … }/,
      ],
    ),
    ["a pattern that is none", split("(a"), /regular expression "\(a", which cannot be used/],
    ["a pattern that needs the search's start", split("\\Ga"), /cannot be used/],
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

describe("a tokenizer's ids are those of the tokenizers library", () => {
  const fixture = new URL("../fixtures/text/tokenizer-variants.json", import.meta.url);
  interface Variant {
    rows: { text: string; ids: number[] }[];
    [field: string]: unknown;
  }
  const { variants } = JSON.parse(readFileSync(fixture, "utf8")) as { variants: Variant[] };
  const ofFiles = (json: object, config: object = {}): Tokenizer => {
    const files = Object.entries({ "tokenizer.json": json, "tokenizer_config.json": config });
    return new Tokenizer(
      new Map(files.map(([name, value]) => [name, Buffer.from(JSON.stringify(value))])),
      "it",
    );
  };

  it("for added tokens, white space, normal forms and patterns of every kind", () => {
    expect(variants.length).toBeGreaterThan(100);
    for (const { rows, ...changed } of variants) {
      const tokenizer = ofFiles({ ...tinyBpe(), ...changed });
      for (const { text, ids } of rows) {
        expect([...tokenizer.encode(text)], JSON.stringify({ text, ...changed })).toEqual(ids);
      }
    }
  });

  it("whatever tokenizer_config.json asks of slow tokenizers", () => {
    const config = {
      remove_space: true,
      do_lowercase_and_remove_accent: true,
      clean_up_tokenization_spaces: true,
      additional_special_tokens: ["B"],
    };
    const text = "  Él  B\n\n<|im_end|> b 's ";
    const tokenizer = ofFiles(tinyBpe(), config);
    expect(tokenizer.encode(text)).toEqual(ofFiles(tinyBpe()).encode(text));
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  it("without the bytes that UTF-8 never has", () => {
    const json = tinyBpe() as { model: { vocab: Record<string, number> } };
    const never = [0xc0, 0xc1, ...Array.from({ length: 11 }, (_, i) => 0xf5 + i)];
    const names = Object.keys(json.model.vocab);
    for (const byte of never) delete json.model.vocab[names[byte]];
    const tokenizer = ofFiles(json);
    const text = "\u{10ffff}\ufffdé\u{40000}";
    expect([...tokenizer.encode(text)]).toEqual([...ofFiles(tinyBpe()).encode(text)]);
    for (const needed of [0xc2, 0xf4]) {
      const without = structuredClone(json);
      delete without.model.vocab[names[needed]];
      expect(errorOf(() => ofFiles(without)).message).toContain(`byte 0x${needed.toString(16)}`);
    }
  });
});

describe("regExpOf", () => {
  const text = `${"a".repeat(40)}${"é ".repeat(40)}`;

  it.each([
    ["(a+)+$"],
    ["(a|a)*b"],
    ["(?:a*)*c"],
    ["(\\w+\\s?)+$"],
    ["([\\p{L}]|\\p{Lu})*!"],
    ["((a{1,5}){1,5})*b"],
    ["(?:a?a?)*b"],
    ["(?:a|b|ab)*c"],
    ["(?=(a+)+b)c"],
    ["(?i:a|A)*b"],
    ["(\\p{L}+\\p{M}*)+!"],
    ["a*a*a*a*b"],
  ])("refuses %s, which could search without end", (pattern) => {
    expect(() => regExpOf(pattern)).toThrow(/so many ways that it may never end/);
  });

  it.each([
    ["\\p{N}{1,3}(?=(?:\\p{N}{3})*(?:\\P{N}|$))"],
    ["(?:\\p{L}+ )*\\p{L}+"],
    ["(?:\\p{Lu}\\p{Ll}+|\\d)+"],
    ["[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{M}]*[\\p{Ll}\\p{M}]+(?i:'s|'t)?|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"],
  ])("takes %s, whose repetitions are told apart", (pattern) => {
    expect(() => [...text.matchAll(regExpOf(pattern))]).not.toThrow();
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
