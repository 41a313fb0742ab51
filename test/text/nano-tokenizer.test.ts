import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { Template } from "../../lib/jinja/template.ts";
import { nanoTokenizer, writeNanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { nanoWords, specialTokens, tagTokens } from "../../lib/text/nano-vocabulary.ts";
import { loadTokenizer } from "../../lib/text/tokenizer.ts";

const tokenizer = nanoTokenizer();
const pieces = (text: string): string[] => [...tokenizer.encode(text)].map((id) => tokenizer.decode([id]));

describe("the nano tokenizer's vocabulary", () => {
  it("has 424 tokens, none twice", () => {
    expect(tokenizer.vocabularySize).toBe(424);
    expect(new Set([...specialTokens, ...tagTokens, ...nanoWords]).size).toBe(424 - 256);
  });

  it("encodes each of its words as one token somewhere", () => {
    // A row number stands before a column and a value; a value behind a digit.
    const contexts: [RegExp, (word: string) => string][] = [
      [/^[0-9],$/, (word) => `${word}4,3`],
      [/^,[0-9]$/, (word) => `4${word}`],
    ];
    for (const word of [...specialTokens, ...tagTokens, ...nanoWords]) {
      const context = contexts.find(([pattern]) => pattern.test(word))?.[1] ?? ((text: string) => text);
      expect([...tokenizer.encode(context(word))], JSON.stringify(word)).toContain(tokenizer.tokenId(word));
    }
  });

  it("has tags that no other token can run into", () => {
    for (const word of nanoWords) {
      expect(word).not.toMatch(/[<>]/);
    }
  });
});

describe("the nano tokenizer on states", () => {
  it("takes one token per cell of a FrozenLake", () => {
    expect(pieces("__O_\nX√GP")).toEqual([..."__O_\nX√GP"]);
    expect(pieces("_P\nGO\nPlayer (P) at (0,1); hole (O) at (1,1); goal (G) at (1,0).")).toEqual([
      ...["_", "P", "\n", "G", "O"],
      ...["\nPlayer (P) at", " (0,", "1)", "; hole (O) at", " (1,", "1)", "; goal (G) at", " (1,", "0)", "."],
    ]);
    expect(pieces("; holes (O) at (0,1), (1,0) and (2,2);")).toEqual([
      ...["; holes (O) at", " (0,", "1)", ",", " (1,", "0)", " and", " (2,", "2)", ";"],
    ]);
  });

  it("merges the wall around a Sokoban room and takes one token per inner cell", () => {
    expect(pieces("######\n#____#\n##O_P#\n###X_#\n###__#\n######")).toEqual([
      ...["######\n#", "_", "_", "_", "_", "#\n#", "#", "O", "_", "P", "#\n#"],
      ...["#", "#", "X", "_", "#\n#", "#", "#", "_", "_", "#\n######"],
    ]);
  });

  it("keeps every inner cell at its offset, whatever walls are inside", () => {
    const cell = fc.constantFrom("#", "#", "#", "_", "O", "√", "X", "P", "S");
    const room = fc
      .tuple(fc.integer({ min: 3, max: 10 }), fc.integer({ min: 3, max: 10 }))
      .chain(([rows, columns]) =>
        fc
          .array(fc.array(cell, { minLength: columns - 2, maxLength: columns - 2 }), {
            minLength: rows - 2,
            maxLength: rows - 2,
          })
          .map((inner) => ({ columns, inner })),
      );
    fc.assert(
      fc.property(room, fc.boolean(), fc.boolean(), ({ columns, inner }, structured, prompted) => {
        const wall = "#".repeat(columns);
        const text = [wall, ...inner.map((row) => `#${row.join("")}#`), wall].join("\n");
        const expected = [
          `${wall}\n#`,
          ...inner.flatMap((row, i) => (i === 0 ? row : ["#\n#", ...row])),
          `#\n${wall}`,
        ];
        const before = prompted ? ["Think and act", ":\n"] : [];
        const after = structured ? ["\nPlayer (P) at", " (1,", "2)"] : [];
        expect(pieces(before.join("") + text + after.join(""))).toEqual([...before, ...expected, ...after]);
      }),
    );
  });

  it("takes one token per Sudoku cell and three per action", () => {
    expect(pieces("| 2 3 . 4 | . 1")).toEqual(["|", " 2", " 3", " .", " 4", " |", " .", " 1"]);
    expect(pieces("1,4,3 || 2,1,2")).toEqual(["1,", "4", ",3", " || ", "2,", "1", ",2"]);
    expect(pieces("\nEmpty cells: (1,1), (1,4).")).toEqual([
      ...["\nEmpty cells:", " (1,", "1)", ",", " (1,", "4)", "."],
    ]);
  });
});

describe("the nano tokenizer on any text", () => {
  it("knows words only as whole words", () => {
    expect(pieces("Up || Down")).toEqual(["Up", " || ", "Down"]);
    expect(pieces("So I move up.")).toEqual(["So", " I", " move", " up", "."]);
    expect(pieces("Upper")).toEqual([..."Upper"]);
    expect(pieces(" upon")).toEqual([..." upon"]);
  });

  it("falls back to bytes", () => {
    const ids = [...tokenizer.encode("é<0x41>")];
    expect(ids).toHaveLength(8);
    expect(tokenizer.decode(ids)).toBe("é<0x41>");
    expect(ids[0]).toBe(tokenizer.tokenId("<0xC3>"));
  });

  it("encodes canonically: decoding and encoding again changes nothing", () => {
    const word = fc.oneof(
      fc.constantFrom(...nanoWords, ...tagTokens, ...specialTokens, "<", "0x41>", "Player", "\r\n", "\ufeff"),
      fc.string({ unit: "binary", maxLength: 4 }),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 30 }), (words) => {
        const text = words.join("");
        const ids = tokenizer.encode(text);
        expect(tokenizer.decode(ids)).toBe(text);
        expect(tokenizer.encode(tokenizer.decode(ids))).toEqual(ids);
      }),
    );
  });
});

describe("the nano tokenizer beside Hugging Face's tokenizers library", () => {
  it("gives the same ids", () => {
    const { texts, ids }: { texts: string[]; ids: number[][] } = JSON.parse(
      readFileSync(new URL("../fixtures/text/nano-ids.json", import.meta.url), "utf8"),
    );
    texts.forEach((text, i) => {
      expect([...tokenizer.encode(text)], JSON.stringify(text)).toEqual(ids[i]);
      expect(tokenizer.decode(ids[i])).toBe(text);
    });
  });
});

describe("writeNanoTokenizer", () => {
  const folder = mkdtempSync(join(tmpdir(), "spa-nano-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it("writes files from which the same tokenizer loads", () => {
    writeNanoTokenizer(folder);
    const loaded = loadTokenizer(folder);
    const text = "<|im_start|>user\nThink and act:\n__O_\nzebra é<|im_end|>";
    expect(loaded.encode(text)).toEqual(tokenizer.encode(text));
    const json = JSON.parse(readFileSync(join(folder, "tokenizer.json"), "utf8"));
    // Hugging Face's loader gives added tokens their ids from the vocabulary.
    for (const { content, id } of json.added_tokens) {
      expect(json.model.vocab[content]).toBe(id);
    }
  });

  it("gives a chat template that renders ChatML", () => {
    const config = JSON.parse(readFileSync(join(folder, "tokenizer_config.json"), "utf8"));
    const text = new Template(config.chat_template).render({
      messages: [
        { role: "user", content: "Think and act:\n__" },
        { role: "assistant", content: "<think>" },
      ],
      add_generation_prompt: true,
    });
    expect(text).toBe(
      "<|im_start|>user\nThink and act:\n__<|im_end|>\n<|im_start|>assistant\n<think><|im_end|>\n<|im_start|>assistant\n",
    );
  });
});
