import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { SpaError } from "../errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Who speaks in a message. */
export type Speaker = "system" | "user" | "assistant";

export interface Message {
  role: Speaker;
  content: string;
}

/** A model's chat template: renders a conversation, up to where the assistant's next turn begins. */
export type ChatTemplate = (messages: readonly Message[], addGenerationPrompt: boolean) => string;

/**
 * The day that templates take for today: conversations must not depend on when a run was started. It is the one that
 * Llama 3's template falls back on.
 */
const today: Readonly<Record<string, string>> = {
  ...{ d: "26", b: "Jul", B: "July", m: "07", Y: "2024", y: "24", a: "Fri", A: "Friday", j: "208" },
  ...{ H: "00", I: "12", M: "00", S: "00", p: "AM", "%": "%" },
};

const formatToday = (format: string): string =>
  format.replace(/%-?(.)/g, (directive, letter: string) => {
    if (today[letter] === undefined) throw new Error(`strftime_now knows no ${directive}`);
    return today[letter];
  });

/**
 * The chat template that comes with a tokenizer: `chat_template.jinja`, else `chat_template.json`, else the entry
 * `chat_template` of `tokenizer_config.json` (a text, or named templates of which `default` counts).
 *
 * @returns undefined if there is none.
 * @throws SpaError BAD_TOKENIZER if it cannot be read. The returned function throws plain errors of the template.
 */
export function chatTemplateOf(tokenizer: Tokenizer): ChatTemplate | undefined {
  const source = sourceOf(tokenizer);
  if (source === undefined) return undefined;
  let program: ReturnType<typeof parse>;
  try {
    program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  } catch (cause) {
    throw badTemplate(`it cannot be parsed: ${(cause as Error).message}`, cause);
  }
  const named = specialTokens(tokenizer);
  return (messages, addGenerationPrompt) => {
    const environment = new Environment();
    const variables: Record<string, unknown> = {
      ...named,
      ...{ true: true, false: false, none: null, True: true, False: false, None: null },
      range,
      raise_exception: (message: string) => {
        throw new Error(message);
      },
      strftime_now: formatToday,
      date_string: formatToday("%d %b %Y"),
      messages,
      add_generation_prompt: addGenerationPrompt,
    };
    for (const [name, value] of Object.entries(variables)) environment.set(name, value);
    const result = new Interpreter(environment).run(program);
    return String(result.value);
  };
}

/** The error about a chat template that cannot be used. */
export function badTemplate(why: string, cause?: unknown): SpaError {
  return new SpaError("BAD_TOKENIZER", `the tokenizer's chat template cannot be used: ${why}`, {
    hint:
      "put a chat_template.jinja into the model's folder that writes every message as opening, content, end token, " +
      "whatever comes before it",
    cause,
  });
}

function sourceOf(tokenizer: Tokenizer): string | undefined {
  const jinja = tokenizer.file("chat_template.jinja");
  if (jinja !== undefined) return new TextDecoder().decode(jinja);
  const template =
    jsonOf(tokenizer, "chat_template.json").chat_template ??
    jsonOf(tokenizer, "tokenizer_config.json").chat_template;
  if (template === undefined || template === null || typeof template === "string")
    return template ?? undefined;
  const all: { name?: unknown; template?: unknown }[] = Array.isArray(template) ? template : [];
  const chosen = all.find(({ name }) => name === "default") ?? (all.length === 1 ? all[0] : undefined);
  if (typeof chosen?.template === "string") return chosen.template;
  const names = all.map(({ name }) => JSON.stringify(name)).join(", ");
  throw badTemplate(`there is none with the name "default"${names === "" ? "" : ` (there are ${names})`}`);
}

/** The texts of bos_token, eos_token and the like; empty where the tokenizer has none, as templates expect. */
function specialTokens(tokenizer: Tokenizer): Record<string, string> {
  const entries = {
    ...jsonOf(tokenizer, "special_tokens_map.json"),
    ...jsonOf(tokenizer, "tokenizer_config.json"),
  };
  const text = (token: unknown): string =>
    typeof token === "string" ? token : ((token as { content?: string } | null | undefined)?.content ?? "");
  const names = ["bos_token", "eos_token", "pad_token", "unk_token"];
  return Object.fromEntries(names.map((name) => [name, text(entries[name])]));
}

/** A JSON object among the tokenizer's files; empty if there is no such file. */
export function jsonOf(tokenizer: Tokenizer, name: string): Record<string, unknown> {
  const bytes = tokenizer.file(name);
  if (bytes === undefined) return {};
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch (cause) {
    throw new SpaError("BAD_TOKENIZER", `${name} is no JSON: ${(cause as Error).message}`, { cause });
  }
  throw new SpaError("BAD_TOKENIZER", `${name} is no JSON object`, { hint: "download the file again" });
}

function range(first: number, second?: number, step = 1): number[] {
  const [begin, end] = second === undefined ? [0, first] : [first, second];
  return Array.from({ length: Math.max(0, Math.ceil((end - begin) / step)) }, (_, i) => begin + i * step);
}
