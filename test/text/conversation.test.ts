// Roles of conversations whose tokens do not hold the whole text: added tokens that take white space with them, normal forms.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chatFormatOf } from "../../lib/text/chat-format.ts";
import { continueConversation, openConversation, type TokenPiece } from "../../lib/text/conversation.ts";
import { Role, roleNames } from "../../lib/text/roles.ts";
import { Tokenizer } from "../../lib/text/tokenizer.ts";
import { tinyBpe } from "./tiny-bpe.ts";

/** The tests' small tokenizer with phi-4's form of conversations. */
function tokenizerWith(flags: object, normalizer: object | null): Tokenizer {
  const json = tinyBpe();
  const added = (json.added_tokens as { id: number; content: string }[]).map((token) => ({
    ...token,
    ...flags,
  }));
  const separator = { ...added[0], id: 273, content: "<|im_sep|>" };
  const template =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}";
  const files = {
    "tokenizer.json": { ...json, normalizer, added_tokens: [...added, separator] },
    "tokenizer_config.json": { eos_token: "<|im_end|>", chat_template: template },
  };
  return new Tokenizer(
    new Map(Object.entries(files).map(([name, value]) => [name, Buffer.from(JSON.stringify(value))])),
    "it",
  );
}

const stripping = { lstrip: true, rstrip: true };
const kinds: [string, object, object | null][] = [
  ["whole texts", {}, null],
  ["white space taken by delimiters", stripping, null],
  ["normal forms", {}, { type: "NFC" }],
  ["normal forms that are longer", {}, { type: "NFKD" }],
  ["white space and normal forms", stripping, { type: "NFKC" }],
  ["delimiters in normal form", { ...stripping, normalized: true }, { type: "NFKC" }],
];

const pieces = [
  "a",
  "#_P\n",
  "\n",
  " ",
  "\u0085",
  "\u2003",
  "\ufeff",
  "é",
  "e\u0301",
  "\u0301",
  "ﬁ",
  "각",
  "<|im_end|>",
  "<|im_sep|> ",
];
const content = fc.array(fc.constantFrom(...pieces), { maxLength: 6 }).map((parts) => parts.join(""));

describe.each(kinds)("openConversation and continueConversation with %s", (_, flags, normalizer) => {
  const tokenizer = tokenizerWith(flags, normalizer);
  const chat = chatFormatOf(tokenizer);
  const form = normalizer === null ? undefined : (normalizer as { type: string }).type;
  /** What is left of a content between delimiters. */
  const left = (text: string): string => {
    const bare = "lstrip" in flags ? text.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, "") : text;
    return form === undefined ? bare : bare.normalize(form);
  };
  const told = (piece: TokenPiece, role: number): string =>
    tokenizer.decode([...piece.tokens].filter((_, i) => piece.roles[i] === role));

  it("give each role the text of its own", () => {
    fc.assert(
      fc.property(content, content, (system, user) => {
        const opening = openConversation(tokenizer, chat, { system, user, forced: "<think>" });
        const more = continueConversation(tokenizer, chat, { ended: true, user });
        expect(told(opening, Role.prompt)).toBe(left(system) + left(user));
        expect(told(opening, Role.tag)).toBe("<think>");
        expect(told(opening, Role.template)).toBe(
          "<|im_start|>system<|im_sep|><|im_end|><|im_start|>user<|im_sep|><|im_end|><|im_start|>assistant<|im_sep|>",
        );
        expect(told(more, Role.environment)).toBe(left(user));
        expect(told(more, Role.template)).toBe(
          "<|im_start|>user<|im_sep|><|im_end|><|im_start|>assistant<|im_sep|>",
        );
      }),
      { numRuns: 300 },
    );
  });

  it("put control tokens where the delimiters have them, and nowhere else", () => {
    fc.assert(
      fc.property(content, (user) => {
        const { tokens, roles } = openConversation(tokenizer, chat, { system: null, user });
        for (const [i, token] of tokens.entries()) {
          if (tokenizer.isAdded(token)) expect(roles[i]).toBe(Role.template);
        }
      }),
    );
  });
});

it("gives a character that a delimiter and a content have together to the content", () => {
  const tokenizer = tokenizerWith({}, { type: "NFC" });
  const format = chatFormatOf(tokenizer);
  const delimiters = { ...format.delimiters, begin: "<|im_start|>e", closeUser: "\u0301<|im_end|>" };
  const { tokens, roles } = openConversation(
    tokenizer,
    { ...format, delimiters },
    { system: null, user: "\u0301xe" },
  );
  const told = [...tokens].map((token, i) => [tokenizer.decode([token]), roleNames[roles[i]]]);
  expect(told.slice(0, 4)).toEqual([
    ["<|im_start|>", "template"],
    ["é", "prompt"],
    ["x", "prompt"],
    ["é", "prompt"],
  ]);
});
