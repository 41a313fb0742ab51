import { SpaError } from "../errors.ts";
import { JinjaError } from "../jinja/error.ts";
import { Template } from "../jinja/template.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Who speaks in a message. */
type Speaker = "system" | "user" | "assistant";

export interface Message {
  role: Speaker;
  content: string;
}

/**
 * A model's chat template: renders a conversation, up to where the assistant's next turn begins.
 *
 * @throws JinjaError
 */
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
  format.replace(/%(-?)(.)/g, (directive, minus: string, letter: string) => {
    if (today[letter] === undefined) throw new Error(`strftime_now knows no ${directive}`);
    return minus === "" ? today[letter] : today[letter].replace(/^0(?=\d)/, "");
  });

/**
 * The chat template that comes with a tokenizer: `chat_template.jinja`, else `chat_template.json`, else the entry
 * `chat_template` of `tokenizer_config.json` (a text, or named templates of which `default` counts). It is given what
 * transformers gives it: messages, whether to open a reply, no tools and no documents, and the special tokens that there are.
 *
 * @returns undefined if there is none.
 * @throws SpaError BAD_TOKENIZER if it cannot be read, UNSUPPORTED if only Jinja2 itself could
 */
export function chatTemplateOf(tokenizer: Tokenizer): ChatTemplate | undefined {
  const source = sourceOf(tokenizer);
  if (source === undefined) return undefined;
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw unusable("it cannot be parsed", error as Error);
  }
  const named = specialTokens(tokenizer);
  return (messages, addGenerationPrompt) =>
    template.render({
      ...named,
      strftime_now: formatToday,
      ...{ messages, add_generation_prompt: addGenerationPrompt, tools: null, documents: null },
    });
}

/** A template in the form that can be used for any model, with ChatML's tokens. */
const exampleTemplate =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const remedy =
  "put a chat_template.jinja into the model's folder that writes every message as opening, content, end token, whatever " +
  `comes before it, such as this with the model's own tokens: ${exampleTemplate}`;

/** The error about a chat template that cannot be used. */
export function badTemplate(why: string, cause?: unknown): SpaError {
  return new SpaError("BAD_TOKENIZER", `the tokenizer's chat template cannot be used: ${why}`, {
    hint: remedy,
    cause,
  });
}

/**
 * The error about a template that failed: in itself, or in the engine, which is no fault of the template's.
 *
 * @param what happened, e.g. "it cannot be parsed"
 */
export function unusable(what: string, error: Error): SpaError {
  if (!(error instanceof JinjaError)) throw error;
  const tag = error.tag === undefined || error.tag === "" ? "" : `, ${shortened(error.tag)}`;
  const place = error.line === undefined ? "" : ` (line ${error.line}${tag})`;
  if (error.kind === "runtime" || error.kind === "syntax")
    return badTemplate(`${what}: ${error.message}${place}`, error);
  const why =
    error.kind === "limit"
      ? `${error.message}, which spa-ai's Jinja engine does not allow`
      : `spa-ai's Jinja engine does not have what it needs: ${error.message}; with Jinja2 itself it may be right`;
  return new SpaError("UNSUPPORTED", `the tokenizer's chat template cannot be rendered: ${why}${place}`, {
    hint: `write that part in another way in a chat_template.jinja in the model's folder; or ${remedy}`,
    cause: error,
  });
}

function shortened(tag: string): string {
  const line = tag.replace(/\s+/g, " ");
  return line.length > 120 ? `${line.slice(0, 119)}…` : line;
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

/** The names under which transformers gives templates a tokenizer's special tokens. */
const specialNames = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
];

/** The texts of the special tokens that the tokenizer has; the others are undefined for a template. */
function specialTokens(tokenizer: Tokenizer): Record<string, string> {
  const config = jsonOf(tokenizer, "tokenizer_config.json");
  // As transformers reads them: the older file counts where the configuration does not list added tokens.
  const isNewer = config.added_tokens_decoder !== undefined;
  const entries = isNewer ? config : { ...config, ...jsonOf(tokenizer, "special_tokens_map.json") };
  const { extra_special_tokens: extra } = entries;
  const own =
    typeof extra === "object" && extra !== null && !Array.isArray(extra)
      ? (extra as Record<string, unknown>)
      : {};
  const named = [...specialNames.map((name) => [name, entries[name]] as const), ...Object.entries(own)];
  return Object.fromEntries(
    named.flatMap(([name, token]) => {
      const text =
        typeof token === "string" ? token : (token as { content?: unknown } | null | undefined)?.content;
      return typeof text === "string" ? [[name, text]] : [];
    }),
  );
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
