import { rmSync } from "node:fs";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { chatFormatOf } from "../../lib/text/chat-format.ts";
import { continueConversation, openConversation } from "../../lib/text/conversation.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { parseTurn } from "../../lib/text/parse.ts";
import { readTurn } from "../../lib/text/read-turn.ts";
import { Role, roleNames } from "../../lib/text/roles.ts";
import { assignRoles } from "../../lib/text/spans.ts";
import { escapeTags, scanTags, strip, unescapeTags } from "../../lib/text/tags.ts";
import { loadTokenizer } from "../../lib/text/tokenizer.ts";
import { encodeSpans, replaceStates, sameState, writeTurn } from "../../lib/text/turn-text.ts";
import { publishedTokenizer } from "./published-tokenizers.ts";
import { tinyBpe, writeTokenizerFolder } from "./tiny-bpe.ts";

const nano = nanoTokenizer();
const chat = chatFormatOf(nano);
const folder = writeTokenizerFolder(tinyBpe());
const bpe = loadTokenizer(folder);
afterAll(() => rmSync(folder, { recursive: true }));

const actions = ["Left", "Down", "Right", "Up"];
const textOf = (spans: readonly { text: string }[]): string => spans.map((span) => span.text).join("");
const lake = "__O_\n____\n____\n__GP\nPlayer (P) at (3,3); hole (O) at (0,2); goal (G) at (3,2).";
const later = "__O_\n____\n____\n__√_\nPlayer (P) at (3,2); hole (O) at (0,2); goal (G) at (3,2).";

describe("writeTurn", () => {
  it("writes both formats", () => {
    const content = { reasoning: "I move left.", actions: ["Left", "Up"] };
    expect(textOf(writeTurn({ format: "plain", ...content }))).toBe(
      "<think>I move left.</think><answer>Left || Up</answer>",
    );
    expect(textOf(writeTurn({ format: "world-model", ...content, observation: "a", prediction: "b" }))).toBe(
      "<think><observation>a</observation>I move left.<prediction>b</prediction></think><answer>Left || Up</answer>",
    );
    expect(() => writeTurn({ format: "world-model", ...content, observation: "a" })).toThrow(/prediction/);
  });

  it("writes what the parser reads, span by span", () => {
    const written = writeTurn({
      format: "world-model",
      observation: lake,
      reasoning: "",
      prediction: later,
      actions: ["Left", "Up"],
    });
    const turn = parseTurn(textOf(written), { format: "world-model", actions, maxActions: 5 });
    expect(turn.valid).toBe(true);
    expect(turn.spans).toEqual(written);
    expect(turn.actions).toEqual(["Left", "Up"]);
  });
});

describe("encodeSpans", () => {
  it("gives the tokens and roles that a nano model would have sampled", () => {
    const spans = writeTurn({
      format: "world-model",
      observation: lake,
      reasoning: "I move left.",
      prediction: later,
      actions: ["Left"],
    });
    const { tokens, roles } = encodeSpans(spans, nano, chat.endToken);
    expect(nano.encode(`${textOf(spans)}<|im_end|>`)).toEqual(tokens);
    expect(assignRoles(tokens, nano, "world-model", chat.stopTokens)).toEqual(roles);
    expect(roles.at(-1)).toBe(Role.end);
    const read = readTurn(tokens, nano, chat, { format: "world-model", actions, maxActions: 5 });
    expect(read.parsed).toMatchObject({ valid: true, observation: lake, prediction: later });
    expect(read.roles).toEqual(roles);
  });

  it("never merges across a tag", () => {
    const spans = writeTurn({
      format: "world-model",
      observation: "##",
      reasoning: "n",
      prediction: "_",
      actions: ["Up"],
    });
    const { tokens, roles } = encodeSpans(spans, bpe);
    const whole = bpe.encode(textOf(spans));
    expect(tokens.length).toBeGreaterThan(whole.length);
    expect(bpe.decode(tokens)).toBe(textOf(spans));
    expect(assignRoles(tokens, bpe, "world-model", [])).toEqual(roles);
  });
});

describe("replaceStates", () => {
  const options = { format: "world-model", actions, maxActions: 5 } as const;
  it("puts true states in place of sampled ones and leaves the rest alone", () => {
    const sampled =
      "<think> <observation>wrong</observation> why not <prediction></prediction></think>\n<answer>Up||left</answer><|im_end|>";
    const replaced = replaceStates(parseTurn(sampled, options).spans, lake, later);
    expect(textOf(replaced)).toBe(
      `<think> <observation>${lake}</observation> why not <prediction>${later}</prediction></think>\n<answer>Up||left</answer><|im_end|>`,
    );
    const { tokens, roles } = encodeSpans(replaced, nano);
    expect(tokens.at(-1)).toBe(chat.endToken);
    expect(roles.at(-1)).toBe(Role.end);
  });

  it.each(["1 2 3", "$1 $& $` $'", "\\1 \\g<0>", "</thinks> <b> < /think>", ""])(
    "takes the state %j as it is",
    (state) => {
      const spans = writeTurn({
        format: "world-model",
        observation: "x",
        reasoning: "r",
        prediction: "y",
        actions: ["Up"],
      });
      expect(textOf(replaceStates(spans, state, `${state}!`))).toBe(
        `<think><observation>${state}</observation>r<prediction>${state}!</prediction></think><answer>Up</answer>`,
      );
    },
  );
});

describe("states that hold tags", () => {
  const options = { format: "world-model", actions, maxActions: 5 } as const;
  const turnOf = (state: string, format: "world-model" | "plain" = "world-model") =>
    writeTurn({ format, observation: state, reasoning: state, prediction: state, actions: ["Up"] });
  const anyText = fc.string({
    unit: fc.oneof(
      fc.constantFrom("<", "</", ">", "\\", "<\\", "/", "think", "answer>", " ", "\n", "\u0085", "\ufeff"),
      fc.constantFrom(
        ...["think", "observation", "prediction", "answer"].flatMap((tag) => [`<${tag}>`, `</${tag}>`]),
      ),
      fc.constantFrom(
        "<\\answer>",
        "<\\\\/think>",
        "<|im_end|>",
        "<|im_start|>user\n",
        "<|endoftext|>",
        " || ",
      ),
      fc.string({ unit: "binary", maxLength: 3 }),
      fc.constantFrom("\ud800", "\udfff", "e\u0301", "\u2126"),
    ),
  });

  it.each([
    ["<answer>x</answer>", "<\\answer>x<\\/answer>"],
    ["<<think>>", "<<\\think>>"],
    ["<\\answer><\\\\/think>", "<\\\\answer><\\\\\\/think>"],
    ["a\\b <b>x</b> <Think> < think> <think", "a\\b <b>x</b> <Think> < think> <think"],
  ])("are escaped with a backslash, and no other text is touched: %j", (text, escaped) => {
    expect(escapeTags(text)).toBe(escaped);
    expect(unescapeTags(escaped)).toBe(text);
  });

  it("come back from any text, which never holds a tag when escaped", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const escaped = escapeTags(text);
        expect(scanTags(escaped, "world-model")).toEqual([]);
        expect(unescapeTags(escaped)).toBe(text);
        expect(escaped === text).toBe(!/<\\*\/?(think|observation|prediction|answer)>/.test(text));
      }),
    );
  });

  it.each([
    ["nano", nano],
    ["tiny BPE", bpe],
    ["Qwen2.5", publishedTokenizer("qwen2_5")],
  ])("make turns that are valid and true, as text and as tokens of %s", (_, tokenizer) => {
    const { contents, endToken, stopTokens } = chatFormatOf(tokenizer);
    fc.assert(
      fc.property(anyText, anyText, (before, after) => {
        const replaced = replaceStates(turnOf("x"), before, after);
        expect(replaced).toEqual(
          writeTurn({ ...options, observation: before, reasoning: "x", prediction: after, actions: ["Up"] }),
        );
        const { tokens, roles } = encodeSpans(replaced, contents, endToken);
        const read = readTurn(tokens, tokenizer, chatFormatOf(tokenizer), options);
        expect(read.parsed).toMatchObject({ valid: true, reasoning: "x", actions: ["Up"] });
        expect(sameState(read.parsed.observation ?? "", before)).toBe(true);
        expect(sameState(read.parsed.prediction ?? "", after)).toBe(true);
        expect(assignRoles(tokens, tokenizer, "world-model", stopTokens)).toEqual(roles);
      }),
    );
  });

  it("may stand in the reasoning of both formats", () => {
    fc.assert(
      fc.property(anyText, fc.constantFrom("plain" as const, "world-model" as const), (text, format) => {
        const spans = turnOf(text, format);
        const turn = parseTurn(textOf(spans), { ...options, format });
        expect(turn).toMatchObject({ valid: true, reasoning: strip(text), actions: ["Up"] });
        expect(turn.spans.filter(({ text: piece }) => piece !== "")).toEqual(
          spans.filter(({ text: piece }) => piece !== ""),
        );
      }),
    );
  });
});

describe("sameState", () => {
  it("forgives white space at the ends only", () => {
    expect(sameState("\n| 1 2 ", "| 1 2")).toBe(true);
    expect(sameState("| 1  2", "| 1 2")).toBe(false);
  });

  it("takes what a normaliser or UTF-8 makes of a state for the state", () => {
    expect(sameState("\u00e9 \ufffd", "e\u0301 \ud800")).toBe(true);
    expect(sameState("e", "e\u0301")).toBe(false);
  });
});

describe("conversations", () => {
  const shown = ({ tokens, roles }: { tokens: Int32Array; roles: Uint8Array }): string[] =>
    Array.from(tokens, (token, i) => `${nano.decode([token])}:${roleNames[roles[i]]}`);

  it("opens with system and user message and a forced beginning", () => {
    expect(
      shown(openConversation(nano, chat, { system: "Up", user: "Think and act:\nP", forced: "<think>" })),
    ).toEqual([
      ...["<|im_start|>:template", "system\n:template", "Up:prompt", "<|im_end|>:template", "\n:template"],
      ...["<|im_start|>:template", "user\n:template", "Think and act:prompt", ":\n:prompt", "P:prompt"],
      ...[
        "<|im_end|>:template",
        "\n:template",
        "<|im_start|>:template",
        "assistant\n:template",
        "<think>:tag",
      ],
    ]);
  });

  it("continues after an end token, and puts one in after a turn that was cut", () => {
    const rest = [
      ...["\n:template", "<|im_start|>:template", "user\n:template", "P:environment", "<|im_end|>:template"],
      ...["\n:template", "<|im_start|>:template", "assistant\n:template"],
    ];
    expect(shown(continueConversation(nano, chat, { ended: true, user: "P" }))).toEqual(rest);
    expect(shown(continueConversation(nano, chat, { ended: false, user: "P" }))).toEqual([
      "<|im_end|>:template",
      ...rest,
    ]);
  });

  it("holds messages of any length, also with delimiters in them", () => {
    const { tokens, roles } = openConversation(nano, chat, {
      system: null,
      user: `<|im_end|>${"P".repeat(300_000)}`,
    });
    expect(tokens.filter((token) => token === nano.encode("P")[0])).toHaveLength(300_000);
    expect(tokens.filter((token) => token === chat.endToken)).toHaveLength(1);
    expect(roles.filter((role) => role === Role.prompt).length).toBeGreaterThan(300_000);
  });

  it("needs a tokenizer with known delimiters", () => {
    const json = tinyBpe();
    const bare = writeTokenizerFolder({ ...json, added_tokens: [] });
    expect(() => chatFormatOf(loadTokenizer(bare))).toThrow(/im_start/);
    rmSync(bare, { recursive: true });
  });
});
