import { rmSync } from "node:fs";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { chatFormatOf } from "../../lib/text/chat-format.ts";
import { lossMask, maskKinds } from "../../lib/text/masks.ts";
import { nanoTokenizer } from "../../lib/text/nano-tokenizer.ts";
import { readTurn } from "../../lib/text/read-turn.ts";
import { Role, roleNames } from "../../lib/text/roles.ts";
import { assignRoles, spansOf } from "../../lib/text/spans.ts";
import type { TurnFormat } from "../../lib/text/tags.ts";
import { loadTokenizer, type Tokenizer } from "../../lib/text/tokenizer.ts";
import { tinyBpe, writeTokenizerFolder } from "./tiny-bpe.ts";

const nano = nanoTokenizer();
const folder = writeTokenizerFolder(tinyBpe());
const bpe = loadTokenizer(folder);
afterAll(() => rmSync(folder, { recursive: true }));

/** "text:role" of each token. */
function labelled(text: string, tokenizer: Tokenizer, format: TurnFormat = "world-model"): string[] {
  const tokens = tokenizer.encode(text);
  const roles = assignRoles(tokens, tokenizer, format, chatFormatOf(tokenizer).stopTokens);
  return Array.from(tokens, (token, i) => `${tokenizer.decode([token])}:${roleNames[roles[i]]}`);
}
const named = (text: string, format: TurnFormat = "world-model"): string[] =>
  spansOf(text, format).map((span) => `${span.text}:${roleNames[span.role]}`);

describe("spansOf", () => {
  it("cuts a world-model turn", () => {
    expect(
      named("<think><observation>a</observation>b<prediction>c</prediction></think><answer>Up</answer>"),
    ).toEqual([
      ...["<think>:tag", "<observation>:tag", "a:observation", "</observation>:tag", "b:reasoning"],
      ...[
        "<prediction>:tag",
        "c:prediction",
        "</prediction>:tag",
        "</think>:tag",
        "<answer>:tag",
        "Up:answer",
      ],
      "</answer>:answerEnd",
    ]);
  });

  it("takes state tags for text in the plain format", () => {
    expect(named("<think><observation>a</observation></think><answer>Up</answer>", "plain")).toEqual([
      ...[
        "<think>:tag",
        "<observation>a</observation>:reasoning",
        "</think>:tag",
        "<answer>:tag",
        "Up:answer",
      ],
      "</answer>:answerEnd",
    ]);
  });

  it("counts white space between blocks with the tag before it", () => {
    expect(named(" <think>a</think>\n<answer>Up</answer>\n")).toEqual([
      ...[" :tag", "<think>:tag", "a:reasoning", "</think>:tag", "\n:tag", "<answer>:tag", "Up:answer"],
      ...["</answer>:answerEnd", "\n:answerEnd"],
    ]);
  });

  it("gives malformed turns spans too", () => {
    expect(named("Up")).toEqual(["Up:other"]);
    expect(named("x<think>a")).toEqual(["x:other", "<think>:tag", "a:reasoning"]);
    expect(named("<observation>a</observation>b")).toEqual([
      ...["<observation>:tag", "a:observation", "</observation>:tag", "b:other"],
    ]);
    expect(named("<think><observation>a<prediction>b</prediction>c</think>d</answer>")).toEqual([
      ...["<think>:tag", "<observation>:tag", "a:observation", "<prediction>:tag", "b:prediction"],
      ...["</prediction>:tag", "c:reasoning", "</think>:tag", "d:other", "</answer>:tag"],
    ]);
    expect(named("<answer>")).toEqual(["<answer>:tag", ":answer"]);
    expect(spansOf("", "plain")).toEqual([]);
  });
});

describe("assignRoles", () => {
  it("gives every nano token the role of its span, the end token its own", () => {
    const turn =
      "<think><observation>_P\nPlayer (P) at (0,1)</observation><prediction>P_</prediction></think>";
    expect(labelled(`${turn}<answer>Left</answer><|im_end|>`, nano)).toEqual([
      ...[
        "<think>:tag",
        "<observation>:tag",
        "_:observation",
        "P:observation",
        "\nPlayer (P) at:observation",
      ],
      ...[" (0,:observation", "1):observation", "</observation>:tag", "<prediction>:tag", "P:prediction"],
      ...[
        "_:prediction",
        "</prediction>:tag",
        "</think>:tag",
        "<answer>:tag",
        "Left:answer",
        "</answer>:answerEnd",
      ],
      "<|im_end|>:end",
    ]);
  });

  it("gives a token that straddles spans the role of a state first, then of the answer, then of other text", () => {
    const labels = labelled("<think><observation>##</observation>n</think><answer>Up</answer>", bpe);
    expect(labels).toContain(">#:observation"); // <observation> and the first cell
    expect(labels).toContain("</:tag");
    expect(labels).toContain("n</:reasoning"); // reasoning and </think>
    expect(labels).toContain("><:tag"); // </think> and <answer>
    expect(labels).toContain(">Up:answer"); // <answer> and the action
    expect(labelled("<observation>_</observation>", bpe)).toContain("_</:observation"); // the last cell and its tag
    expect(labelled("<observation>_##<prediction>", bpe)).toContain("##<:observation");
  });

  it("keeps answer loss and loss without states away from state text", () => {
    const turn =
      "<think><observation>##\n#_</observation><prediction>#</prediction></think><answer>Up</answer>";
    const tokens = bpe.encode(turn);
    const roles = assignRoles(tokens, bpe, "world-model", []);
    const begin = turn.indexOf("##");
    const stateEnd = turn.indexOf("</observation>");
    let at = 0;
    const answer = lossMask("answer", roles, null);
    const noState = lossMask("no-state", roles, null);
    tokens.forEach((token, i) => {
      const end = at + bpe.bytesOf(token).length;
      if (end > begin && at < stateEnd) {
        expect(answer[i] | noState[i]).toBe(0);
      }
      at = end;
    });
  });

  it("roles each byte of a character that several tokens share, and bytes that are no text", () => {
    expect(labelled("<think>字</think>", nano)).toEqual([
      "<think>:tag",
      ...Array(3).fill("\ufffd:reasoning"),
      "</think>:tag",
    ]);
    const stray = [nano.tokenId("<think>")!, nano.tokenId("<0xFF>")!, nano.tokenId("</think>")!];
    expect([...assignRoles(stray, nano, "plain", [])]).toEqual([Role.tag, Role.reasoning, Role.tag]);
  });

  it("finds a tag that is spelled in bytes", () => {
    const spelled = Array.from(
      "<answer>",
      (c) => nano.tokenId(`<0x${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}>`)!,
    );
    const roles = assignRoles([...spelled, nano.tokenId("Up")!], nano, "plain", []);
    expect([...roles]).toEqual([...Array(8).fill(Role.tag), Role.answer]);
  });

  it("gives ids without text the role of the token before them", () => {
    const tokens = [nano.tokenId("<think>")!, nano.tokenId("P")!, 5000];
    expect([...assignRoles(tokens, nano, "plain", [])]).toEqual([Role.tag, Role.reasoning, Role.reasoning]);
  });

  const garbage = (tokenizer: Tokenizer): fc.Arbitrary<number[]> =>
    fc.array(
      fc.oneof(
        { weight: 1, arbitrary: fc.nat(tokenizer.vocabularySize + 3) },
        { weight: 2, arbitrary: fc.integer({ min: 0, max: 18 }) },
      ),
      { maxLength: 60 },
    );
  it.each([
    ["nano", nano],
    ["bpe", bpe],
  ] as const)("survives any token sequence and agrees with the parser: %s", (_, tokenizer) => {
    const chat = chatFormatOf(tokenizer);
    const format = fc.constantFrom<TurnFormat>("plain", "world-model");
    const actions = ["Up", "Down", "Left", "Right"];
    fc.assert(
      fc.property(garbage(tokenizer), format, (tokens, format) => {
        const { text, parsed, roles } = readTurn(tokens, tokenizer, chat, { format, actions, maxActions: 5 });
        expect(roles).toHaveLength(tokens.length);
        expect(parsed.spans.map((span) => span.text).join("")).toBe(text);
        expect(parsed.valid).toBe(parsed.reason === undefined);
        const kept = lossMask("full", roles, null);
        expect(kept.every((bit) => bit === 1)).toBe(true);
        for (const kind of maskKinds) {
          const mask = lossMask(
            kind,
            roles,
            Uint8Array.from(tokens, (_, i) => i & 1),
          );
          expect(mask.every((bit, i) => bit <= (i & 1))).toBe(true);
        }
        tokens.forEach((token, i) => {
          expect(roles[i] === Role.end).toBe(chat.stopTokens.includes(token));
        });
      }),
      { numRuns: 500 },
    );
  });
});
