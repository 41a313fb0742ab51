import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { chatFormatOf } from "../../lib/text/chat-format.ts";
import { lossMask } from "../../lib/text/masks.ts";
import { readTurn } from "../../lib/text/read-turn.ts";
import { roleNames } from "../../lib/text/roles.ts";
import { loadTokenizer, type Tokenizer } from "../../lib/text/tokenizer.ts";

const fixtures = fileURLToPath(new URL("../fixtures/text", import.meta.url));
interface References {
  strings: string[];
  turns: string[];
  ids: Record<string, number[][]>;
  turnIds: Record<string, number[][]>;
}
const references: References = JSON.parse(readFileSync(`${fixtures}/qwen-ids.json`, "utf8"));

// Excerpts of the published files: all merges that can apply to the reference texts, under their own ids. Qwen2.5 has
// merges as text and no think tokens, Qwen3 has them as pairs and <think> and </think> as tokens.
describe.each([
  ["qwen2.5", "qwen2_5"],
  ["qwen3", "qwen3"],
])("%s", (folder, key) => {
  const tokenizer: Tokenizer = loadTokenizer(`${fixtures}/${folder}`);
  const chat = chatFormatOf(tokenizer);
  const read = (turn: number) =>
    readTurn(references.turnIds[key][turn], tokenizer, chat, {
      format: turn === 4 ? "plain" : "world-model",
      actions: ["Up", "Down", "Left", "Right"],
      parseAction: turn === 3 ? (text) => text : undefined,
      maxActions: 5,
    });
  const labelled = (turn: number): string[] => {
    const { roles } = read(turn);
    return references.turnIds[key][turn].map((id, i) => `${tokenizer.decode([id])}:${roleNames[roles[i]]}`);
  };

  it("encodes to the ids of the tokenizers library and decodes them", () => {
    references.strings.forEach((text, i) => {
      expect([...tokenizer.encode(text)], JSON.stringify(text)).toEqual(references.ids[key][i]);
      expect(tokenizer.decode(references.ids[key][i])).toBe(text.normalize("NFC"));
    });
    references.turns.forEach((text, i) => {
      expect([...tokenizer.encode(text)]).toEqual(references.turnIds[key][i]);
    });
    expect(tokenizer.vocabularySize).toBe(folder === "qwen3" ? 151669 : 151665);
  });

  it("reads turns as sampled", () => {
    expect(read(0).parsed).toMatchObject({
      valid: true,
      actions: ["Left", "Up"],
      reasoning: "I move left, closer to the goal.",
    });
    expect(read(2).parsed).toMatchObject({
      valid: true,
      actions: ["Down", "Left"],
      reasoning: "Push the box (X) down.",
    });
    expect(read(3).parsed).toMatchObject({ valid: true, actions: ["1,4,1"] });
    expect(read(4).parsed).toMatchObject({ reason: "text-outside-tags", actions: ["Up"] });
  });

  it("gives tokens that straddle a tag the role of what they carry", () => {
    const lake = labelled(0);
    expect(lake.filter((label) => label === ").</:observation")).toHaveLength(1);
    expect(lake.filter((label) => label === ").</:prediction")).toHaveLength(1);
    expect(lake).toContain(">I:reasoning");
    expect(lake).toContain(".<:reasoning");
    expect(labelled(2)).toContain(">\n:observation");
    expect(labelled(4).slice(-5)).toEqual([
      ...["answer:answerEnd", ">:answerEnd", " done:other", ".:other"],
      "<|im_end|>:end",
    ]);
  });

  it("selects the answer with its closing tag and the end token, and no state without states", () => {
    const ids = references.turnIds[key][0];
    const { roles } = read(0);
    const kept = (kind: "answer" | "no-state"): string => {
      const mask = lossMask(kind, roles, null);
      return tokenizer.decode(ids.filter((_, i) => mask[i] === 1));
    };
    expect(kept("answer")).toBe("Left || Up</answer><|im_end|>");
    const closing = folder === "qwen3" ? ">" : "></"; // Qwen2.5 has a token for this end and beginning of tags
    const rest = folder === "qwen3" ? "</think>" : "think>";
    expect(kept("no-state")).toBe(
      `<think><observation>observation>I move left, closer to the goal.<prediction>prediction${closing}${rest}` +
        "<answer>Left || Up</answer><|im_end|>",
    );
  });
});
