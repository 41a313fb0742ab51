// Templates of many kinds on a tiny tokenizer: which are followed, and which are refused with a reason.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { SpaError } from "../../lib/errors.ts";
import { chatMl } from "../../lib/text/chat-delimiters.ts";
import { type ChatFormat, chatFormatOf } from "../../lib/text/chat-format.ts";
import { continueConversation, openConversation } from "../../lib/text/conversation.ts";
import { loadTokenizer, type Tokenizer } from "../../lib/text/tokenizer.ts";
import { tinyBpe, writeTokenizerFolder } from "./tiny-bpe.ts";

/** A folder with the tiny tokenizer and other files, objects as JSON. */
function folderWith(files: Record<string, unknown>): string {
  const folder = writeTokenizerFolder(tinyBpe());
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(folder, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return folder;
}

function withTemplate(template: string): { tokenizer: Tokenizer; chat: ChatFormat } {
  const tokenizer = loadTokenizer(folderWith({ "chat_template.jinja": template }));
  return { tokenizer, chat: chatFormatOf(tokenizer) };
}

function refusal(files: Record<string, unknown>): SpaError {
  try {
    chatFormatOf(loadTokenizer(folderWith(files)));
  } catch (error) {
    expect(error).toBeInstanceOf(SpaError);
    expect((error as SpaError).code).toBe("BAD_TOKENIZER");
    return error as SpaError;
  }
  throw new Error("the template was taken");
}

const message = "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}";
const prompt = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
const loop = (body: string, before = "", after = prompt) =>
  `${before}{% for message in messages %}${body}{% endfor %}${after}`;

describe("where a template comes from", () => {
  const greeting = (text: string) => loop(message, text);

  it("takes chat_template.jinja before chat_template.json before tokenizer_config.json", () => {
    const config = { "tokenizer_config.json": { chat_template: greeting("config ") } };
    const json = { ...config, "chat_template.json": { chat_template: greeting("json ") } };
    const jinja = { ...json, "chat_template.jinja": greeting("jinja ") };
    for (const [files, name] of [
      [config, "config"],
      [json, "json"],
      [jinja, "jinja"],
    ] as const) {
      const { delimiters } = chatFormatOf(loadTokenizer(folderWith(files)));
      expect(delimiters.begin).toBe(`${name} <|im_start|>user\n`);
    }
  });

  it("takes the template named default, or the only one", () => {
    const tools = { name: "tool_use", template: greeting("tools ") };
    const named = (chat_template: unknown) => ({ "tokenizer_config.json": { chat_template } });
    const format = (chat_template: unknown) => chatFormatOf(loadTokenizer(folderWith(named(chat_template))));
    expect(format([tools, { name: "default", template: greeting("x ") }]).delimiters.begin).toMatch(/^x /);
    expect(format([tools]).delimiters.begin).toMatch(/^tools /);
    expect(refusal(named([tools, { ...tools, name: "rag" }])).message).toContain(
      'there are "tool_use", "rag"',
    );
  });

  it("keeps the templates beside the default one, byte for byte", () => {
    const folder = folderWith({ "chat_template.jinja": greeting("default ") });
    mkdirSync(join(folder, "additional_chat_templates"));
    const tools = join("additional_chat_templates", "tool_use.jinja");
    writeFileSync(join(folder, tools), "{{ tools }}\r\n");
    const tokenizer = loadTokenizer(folder);
    expect(chatFormatOf(tokenizer).delimiters.begin).toMatch(/^default /);
    tokenizer.save(join(folder, "saved"));
    expect(readFileSync(join(folder, "saved", tools), "utf8")).toBe("{{ tools }}\r\n");
  });

  it("is ChatML without one", () => {
    const tokenizer = loadTokenizer(folderWith({}));
    expect(chatFormatOf(tokenizer).delimiters).toEqual(chatMl);
    expect(chatFormatOf(tokenizer).stopTokens).toEqual([272, 270]);
  });

  it("reads stop tokens from generation_config.json, which is not the tokenizer's to save", () => {
    const files = {
      "generation_config.json": { eos_token_id: [271, 272, 5] },
      "tokenizer_config.json": { eos_token: { content: "<|endoftext|>" } },
      "chat_template.json": `{ "chat_template":  ${JSON.stringify(loop(message))} }`,
      "chat_template.jinja": loop(message),
      "added_tokens.json": '{ "<|im_end|>": 272 }',
    };
    const folder = folderWith(files);
    const tokenizer = loadTokenizer(folder);
    expect(chatFormatOf(tokenizer).stopTokens).toEqual([272, 271, 5, 270]);
    const saved = join(folder, "saved");
    mkdirSync(saved);
    tokenizer.save(saved);
    for (const name of ["chat_template.jinja", "chat_template.json", "added_tokens.json"]) {
      expect(readFileSync(join(saved, name))).toEqual(readFileSync(join(folder, name)));
    }
    expect(() => readFileSync(join(saved, "generation_config.json"))).toThrow(/ENOENT/);
  });
});

describe("templates that are followed", () => {
  const opened = (template: string, system: string | null, user = "Play.") => {
    const { tokenizer, chat } = withTemplate(template);
    return tokenizer.decode(openConversation(tokenizer, chat, { system, user }).tokens);
  };

  it("puts the system text in front of the first user message if there is no role for it", () => {
    const gemma = loop(
      message,
      "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}",
    );
    const silent = loop(`{% if message.role != 'system' %}${message}{% endif %}`);
    for (const template of [gemma, silent]) {
      expect(opened(template, "Obey.")).toBe(
        "<|im_start|>user\nObey.\n\nPlay.<|im_end|>\n<|im_start|>assistant\n",
      );
    }
  });

  it("joins system and first user message as the template does", () => {
    const joins = loop(
      message,
      "{% if messages[0].role == 'system' %}{% set first = messages[0].content + ' // ' %}{% set messages = messages[1:] %}" +
        "{% else %}{% set first = '' %}{% endif %}",
    ).replace("message.content", "(first if loop.first else '') + message.content");
    expect(opened(joins, "Obey.")).toBe(
      "<|im_start|>user\nObey. // Play.<|im_end|>\n<|im_start|>assistant\n",
    );
  });

  it("trims contents where the template does", () => {
    const trims = loop(message.replace("message.content", "message.content | trim"));
    expect(opened(trims, " Obey.\n", "\n Play. ")).toBe(
      "<|im_start|>system\nObey.<|im_end|>\n<|im_start|>user\nPlay.<|im_end|>\n<|im_start|>assistant\n",
    );
  });

  it("leaves a thinking block that the generation prompt opens to the caller", () => {
    const thinks = loop(message, "", prompt.replace("assistant\n", "assistant\n<think>\n"));
    expect(opened(thinks, null)).toBe("<|im_start|>user\nPlay.<|im_end|>\n<|im_start|>assistant\n");
  });

  it("writes the begin token once, no history stripped, and no header for a system message (as DeepSeek's distillates)", () => {
    const distillate =
      "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}" +
      "{% set ns = namespace(system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}" +
      "{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}" +
      "{%- for message in messages %}{%- if message['role'] == 'user' %}{{'<|User|>' + message['content']}}{%- endif %}" +
      "{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}" +
      "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}" +
      "{{'<|Assistant|>' + content + '<|im_end|>'}}{%- endif %}{%- endfor %}" +
      "{% if add_generation_prompt %}{{'<|Assistant|><think>\\n'}}{% endif %}";
    const folder = folderWith({
      "chat_template.jinja": distillate,
      "tokenizer_config.json": { bos_token: { content: "<|endoftext|>" } },
    });
    const tokenizer = loadTokenizer(folder);
    const chat = chatFormatOf(tokenizer);
    const begin = openConversation(tokenizer, chat, { system: "Obey.", user: "Play.", forced: "<think>" });
    const more = continueConversation(tokenizer, chat, { ended: true, user: "Go on.", forced: "<think>" });
    expect(tokenizer.decode(begin.tokens)).toBe("<|endoftext|>Obey.<|User|>Play.<|Assistant|><think>");
    expect(tokenizer.decode(more.tokens)).toBe("<|User|>Go on.<|Assistant|><think>");
  });

  it("takes one day for today", () => {
    const dated =
      "{{ strftime_now('%d %B %Y') }} {{ strftime_now('%-m/%-d') }} {{ date_string is defined }}\n";
    expect(opened(loop(message, dated), null)).toMatch(/^26 July 2024 7\/26 False\n/);
  });

  it("writes users without an end token of their own", () => {
    const bare = loop(
      "{% if message.role == 'user' %}{{ 'U: ' + message.content }}{% else %}" +
        "{{ ' A:' + message.content + '<|endoftext|>' }}{% endif %}",
      "",
      "{% if add_generation_prompt %}{{ ' A:' }}{% endif %}",
    );
    const { chat, tokenizer } = withTemplate(bare.replace("'user'", "'user' or message.role == 'system'"));
    expect(chat.endToken).toBe(tokenizer.tokenId("<|endoftext|>"));
    expect(chat.delimiters).toMatchObject({
      begin: "U: ",
      closeUser: "",
      openAssistant: " A:",
      separator: "",
    });
  });
});

describe("templates whose text is that of Jinja2", () => {
  const chatml = (role: string, text: string) => `<|im_start|>${role}\n${text}<|im_end|>\n`;
  const short = "{{ '<|im_start|>' + m.role + '\n' + m.content";
  const each = (inside: string) => `{% for m in messages %}${inside}{% endfor %}`;
  const turns = `${each(`${short} + '<|im_end|>\n' }}`)}${prompt}`;
  const plain = [chatml("user", "A"), chatml("assistant", "Up"), chatml("user", "B")].join("");
  const system = (text: string) => chatml("system", text) + plain;
  const opening = "<|im_start|>assistant\n";

  it.each<[string, string, string]>([
    ["write the reply's header always", `${each(`${short} + '<|im_end|>\n' }}`)}{{ '${opening}' }}`, plain],
    [
      "write it behind a user message",
      `${each(`${short} + '<|im_end|>\n' }}`)}{% if messages[-1].role == 'user' %}{{ '${opening}' }}{% endif %}`,
      plain,
    ],
    [
      "leave out the end behind the last message",
      `${each(`${short} }}{% if not loop.last or add_generation_prompt %}{{ '<|im_end|>\n' }}{% endif %}`)}${prompt}`,
      plain,
    ],
    [
      "put another end behind the last reply",
      `${each(
        `${short} + ('<|endoftext|>' if loop.last and m.role == 'assistant' else '<|im_end|>\n') }}`,
      )}${prompt}`,
      plain,
    ],
    ["ask whether there are tools", `{% if tools is not none %}{{ 'tools' }}{% endif %}${turns}`, plain],
    [
      "ask whether there are documents",
      `{% if documents is defined %}{{ 'D' }}{% endif %}${turns}`,
      `D${plain}`,
    ],
    [
      "have a date of their own",
      `{% if not date_string is defined %}{% set date_string = 'today' %}{% endif %}{{ date_string + '\n' }}${turns}`,
      `today\n${plain}`,
    ],
    ["have line breaks of another system", turns.replaceAll("%}", "%}\r\n").replaceAll("\\n", "\r\n"), plain],
    ["have old line breaks", turns.replaceAll("%}", "%}\r"), plain],
    [
      "mark what the assistant writes",
      each(`{% generation %}${short} + '<|im_end|>\n' }}{% endgeneration %}`) + prompt,
      plain,
    ],
    [
      "read contents as parts",
      `${each("{% for c in m.content %}{% if c.type == 'image' %}I{% endif %}{% endfor %}")}${turns}`,
      plain,
    ],
    [
      "ask for tools that are none",
      `{% set t = none %}{{ t | selectattr('x', 'eq', 1) | list | length }}${turns}`,
      `0${plain}`,
    ],
    [
      "open and close thinking for every reply",
      each(
        `{{ '<|im_start|>' + m.role + '\n' + ('<think>\n\n</think>\n\n' if m.role == 'assistant' else '') + m.content + '<|im_end|>\n' }}`,
      ) + prompt.replace("assistant\n", "assistant\n<think>\n\n</think>\n\n"),
      plain.replace("assistant\n", "assistant\n<think>\n\n</think>\n\n"),
    ],
    [
      "close thinking in the prompt and in history, from which they cut it",
      each(
        "{% if m.role == 'assistant' %}{{ '<|A|></think>' + m.content.split('</think>')[-1] + '<|im_end|>' }}" +
          "{% else %}{{ '<|U|>' + m.content }}{% endif %}",
      ).concat("{% if add_generation_prompt %}{{ '<|A|></think>' }}{% endif %}"),
      "<|U|>A<|A|></think>Up<|im_end|><|U|>B",
    ],
  ])("%s", (_, template, text) => {
    const { tokenizer, chat } = withTemplate(template);
    const begin = openConversation(tokenizer, chat, { system: null, user: "A" });
    const more = continueConversation(tokenizer, chat, { ended: true, user: "B" });
    const whole = `${tokenizer.decode(begin.tokens)}Up${chat.delimiters.end}${tokenizer.decode(more.tokens)}`;
    expect(whole).toBe(text + chat.delimiters.openAssistant);
  });

  it("keeps replies as sampled where only earlier ones get a thinking block", () => {
    const inserted = each(
      `{{ '<|im_start|>' + m.role + '\n' + ('<think>\n\n</think>\n\n' if m.role == 'assistant' else '') + m.content + '<|im_end|>\n' }}`,
    );
    expect(withTemplate(inserted + prompt).chat.delimiters).toEqual(chatMl);
    // On a line of its own, and in another spelling.
    const other = "{{ '\n<|thinking|></thinking>' if m.role == 'assistant' }}";
    const bare = each(`{{ '<|im_start|>' + m.role }}${other}{{ m.content + '<|im_end|>' }}`);
    const { delimiters } = withTemplate(
      `${bare}{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% endif %}`,
    ).chat;
    expect(delimiters.openAssistant).toBe("<|im_start|>assistant");
  });

  it.each([
    ["system", " Play.\n", "Obey."],
    ["user", "Play.", " Obey.\n"],
  ])("trims the %s message alone", (trimmed, user, obey) => {
    const template = turns.replace(
      "m.content",
      `(m.content | trim if m.role == '${trimmed}' else m.content)`,
    );
    const { tokenizer, chat } = withTemplate(template);
    const begin = openConversation(tokenizer, chat, { system: " Obey.\n", user: " Play.\n" });
    expect(tokenizer.decode(begin.tokens)).toBe(chatml("system", obey) + chatml("user", user) + opening);
  });

  it("gives a template the special tokens that there are, and no others", () => {
    const asks = "{{ [bos_token is defined, eos_token, pad_token is defined, image_token] }}\n";
    const files = {
      "chat_template.jinja": asks + turns,
      "tokenizer_config.json": {
        ...{ bos_token: null, eos_token: { content: "<|im_end|>" } },
        extra_special_tokens: { image_token: "<|image|>" },
      },
    };
    const { begin } = chatFormatOf(loadTokenizer(folderWith(files))).delimiters;
    expect(begin).toBe("[False, '<|im_end|>', False, '<|image|>']\n<|im_start|>user\n");
  });

  it("writes the system message", () => {
    const { tokenizer, chat } = withTemplate(turns);
    const begin = openConversation(tokenizer, chat, { system: "Obey.", user: "A" });
    const more = continueConversation(tokenizer, chat, { ended: true, user: "B" });
    expect(`${tokenizer.decode(begin.tokens)}Up<|im_end|>${tokenizer.decode(more.tokens)}`).toBe(
      system("Obey.") + opening,
    );
  });
});

describe("templates that are refused", () => {
  const alternating =
    "{% if (message.role == 'user') == (loop.index0 % 2 == 0) %}{{ raise_exception('after ' + message.role) }}{% endif %}";
  it.each<[string, string, RegExp]>([
    ["broken syntax", "{% for %}", /cannot be parsed/],
    ["an unknown filter", loop(message.replace("message.content", "message.content | rot13")), /rot13/],
    ["an error of its own", loop(message + alternating), /it fails: after/],
    [
      "numbered messages",
      loop(message.replace("message.role", "message.role + loop.index|string")),
      /assistant2/,
    ],
    [
      "the last user message elsewhere",
      loop(message, "{{ 'Question: ' + messages[-1].content + '\n' }}"),
      /user's message once, in its place/,
    ],
    [
      "numbered user messages",
      loop(
        message.replace(
          "message.role",
          "message.role + (loop.index|string if message.role == 'user' else '')",
        ),
      ),
      /with 3 turns, no system message, plain text.*expected ".*user3.*", got ".*user5/,
    ],
    [
      "a system message before the last user message",
      loop(
        `{% if message.role != 'system' %}${message.replace(
          "message.content",
          "(messages[0].content + '\n\n' if loop.last and messages[0].role == 'system' else '') + message.content",
        )}{% endif %}`,
      ),
      /with 2 turns, a system message/,
    ],
    ["messages left out", loop(`{% if loop.last %}${message}{% endif %}`), /user's message once/],
    ["replies that end in text", loop(message.replaceAll("<|im_end|>", "[end]")), /no special token/],
    ["another opening for replies to come", loop(message, "", prompt.replace("assistant", "bot")), /bot/],
    ["contents changed", loop(message.replace("message.content", "message.content | upper")), /in its place/],
    [
      "line breaks taken out",
      loop(message.replace("message.content", "message.content | replace('\n', ' ')")),
      /spaces around the contents.*expected.*got/,
    ],
    ["a date that it cannot know", loop(message, "{{ strftime_now('%Z') }}"), /strftime_now knows no %Z/],
  ])("%s", (_, template, reason) => {
    const error = refusal({ "chat_template.jinja": template });
    expect(error.message).toMatch(reason);
    expect(error.message.length).toBeLessThan(400);
    expect(error.hint).toContain("chat_template.jinja");
    // The remedy works.
    const remedy = /(\{% for.*\{% endif %\})/.exec(error.hint ?? "")?.[1] ?? "";
    expect(withTemplate(remedy).chat.delimiters).toEqual(chatMl);
  });

  it.each<[string, string, RegExp]>([
    [
      "a filter",
      `{{ messages | pprint }}\n${loop(message)}`,
      /'pprint'.*\(line 1, \{\{ messages \| pprint \}\}\)/,
    ],
    ["a tag", `\n{% block a %}{% endblock %}${loop(message)}`, /tag 'block'.*\(line 2, \{% block a %\}\)/],
    [
      "an endless loop",
      loop(message, "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
      /steps.*line 1/,
    ],
  ])("as the engine's limit, not the template's fault: %s", (_, template, reason) => {
    let error: unknown;
    try {
      withTemplate(template);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: "UNSUPPORTED" });
    expect((error as SpaError).message).toMatch(/spa-ai's Jinja engine/);
    expect((error as SpaError).message).toMatch(reason);
    expect((error as SpaError).hint).toContain("chat_template.jinja");
  });

  it("names line and expression of what fails", () => {
    const failing = loop(`{% if true %}\n{{ message.content.nothing.more }}{% endif %}${message}`);
    expect(refusal({ "chat_template.jinja": failing }).message).toMatch(
      /has no attribute 'nothing' \(line 2, \{\{ message\.content\.nothing\.more \}\}\)/,
    );
    expect(refusal({ "chat_template.jinja": loop(message, "{{ range(10 ** 9) }}") }).message).toMatch(
      /Range too big/,
    );
  });

  it("names a file that is no JSON object", () => {
    expect(refusal({ "chat_template.json": "[" }).message).toContain("chat_template.json");
    expect(refusal({ "generation_config.json": "[]" }).message).toContain("generation_config.json");
  });
});
