import { badTemplate, type ChatTemplate, type Message } from "./chat-template.ts";
import { strip } from "./tags.ts";

/** What stands around the contents of messages. All text; `end` is that of one token. */
export interface ChatDelimiters {
  /** Before the first user message of a conversation without a system message: a begin token, a default system text. */
  begin: string;
  /** Before the system message, from the very start on. */
  openSystem: string;
  /** Between the system message and the content of the first user message. */
  systemToUser: string;
  /** Before a later user message. The first one's stands at the end of `begin` and `systemToUser`. */
  openUser: string;
  /** After a user message. */
  closeUser: string;
  /** Before what the assistant writes. */
  openAssistant: string;
  /** Ends a turn of the assistant. */
  end: string;
  /** Between an end token and `openUser`. */
  separator: string;
  /** Whether white space at the ends of system and user messages is cut off. */
  trims: boolean;
}

/** ChatML: `<|im_start|>user\n…<|im_end|>\n<|im_start|>assistant\n…<|im_end|>\n`, without a default system message. */
export const chatMl: ChatDelimiters = {
  begin: "<|im_start|>user\n",
  openSystem: "<|im_start|>system\n",
  systemToUser: "<|im_end|>\n<|im_start|>user\n",
  openUser: "<|im_start|>user\n",
  closeUser: "<|im_end|>\n",
  openAssistant: "<|im_start|>assistant\n",
  end: "<|im_end|>",
  separator: "\n",
  trims: false,
};

const system = "Probe text of the system";
const users = ["First probe of a user", "Second probe of a user", "Third probe of a user"];
const replies = ["First probe of a reply", "Second probe of a reply"];

/** A text in parts; `null` is a reply that the template may have rewritten. */
type Parts = (string | null)[];

/**
 * Finds the delimiters of a chat template from conversations with known contents, and checks on others that text which
 * is appended turn by turn is what the template writes for the whole.
 *
 * @param endOf the first token of a text if it is a special one, as text; else undefined.
 * @throws SpaError BAD_TOKENIZER with the conversation on which they differ, what was expected and what the template wrote
 */
export function deriveDelimiters(
  template: ChatTemplate,
  endOf: (text: string) => string | undefined,
): ChatDelimiters {
  const [first, second] = users;
  const between = (name: string, messages: Message[], prompt: boolean): string[] =>
    cut(name, render(template, name, messages, prompt), messages);

  const one = [user(first)];
  const [begin, closeUser] = between("a user message", one, false);
  const [, afterUser] = between("a user message and the generation prompt", one, true);
  const generation = afterPrefix("the generation prompt", afterUser, closeUser);
  const afterReply = between("a turn", [...one, assistant(replies[0])], false)[2];
  const [, toReply, toUser] = between("two turns", [...one, assistant(replies[0]), user(second)], true);
  const end = endOf(afterReply);
  if (end === undefined) {
    throw badTemplate(
      `after an assistant message it writes ${quote(afterReply)}, which begins with no special token`,
    );
  }
  const delimiters: ChatDelimiters = {
    begin,
    ...systemDelimiters(template, begin),
    openUser: afterPrefix("a second user message", toUser, afterReply),
    closeUser,
    // A template may open a thinking block for the assistant; that is left to protocol.forceThink.
    openAssistant: openingOf(generation, afterPrefix("an assistant message", toReply, closeUser)),
    end,
    separator: afterReply.slice(end.length),
    trims: false,
  };
  delimiters.trims = trims(template);
  verify(template, delimiters);
  return delimiters;
}

/** Of the generation prompt and what stands before earlier replies, what is no part of the reply. */
function openingOf(generation: string, earlier: string): string {
  if (generation.startsWith(earlier)) {
    const added = generation.slice(earlier.length);
    if (added === "" || /^<think>\s*(<\/think>\s*)?$/.test(added)) return earlier;
  }
  throw badTemplate(
    `it writes ${quote(generation)} for a reply to come, but ${quote(earlier)} before an earlier reply`,
  );
}

/** A template without system messages gets them in front of the first user message, with an empty line between. */
function systemDelimiters(
  template: ChatTemplate,
  begin: string,
): Pick<ChatDelimiters, "openSystem" | "systemToUser"> {
  const messages: Message[] = [{ role: "system", content: system }, user(users[0])];
  if (!takesSystem(template)) return { openSystem: begin, systemToUser: "\n\n" };
  const [openSystem, systemToUser] = cut("a system message", template(messages, false), messages);
  return { openSystem, systemToUser };
}

/** Whether a template writes system messages, rather than refuse or omit them. */
function takesSystem(template: ChatTemplate): boolean {
  try {
    return template([{ role: "system", content: system }, user(users[0])], false).includes(system);
  } catch {
    return false;
  }
}

function trims(template: ChatTemplate): boolean {
  return !render(template, "spaces around a message", [user(`  ${users[0]}  `)], true).includes(
    `  ${users[0]}  `,
  );
}

/**
 * The text of a conversation as it grows turn by turn: contents of system and user messages and delimiters, and replies
 * as they were sampled.
 */
export function conversationText(
  delimiters: ChatDelimiters,
  opening: string | null,
  turns: readonly { user: string; reply?: string }[],
): string[] {
  const { begin, openSystem, systemToUser, openUser, closeUser, openAssistant, end, separator } = delimiters;
  const content = (text: string): string => (delimiters.trims ? strip(text) : text);
  const parts = opening === null ? [begin] : [openSystem, content(opening), systemToUser];
  for (const [i, turn] of turns.entries()) {
    if (i > 0) parts.push(openUser);
    parts.push(content(turn.user), closeUser, openAssistant);
    if (turn.reply !== undefined) parts.push(turn.reply, end, separator);
  }
  return parts;
}

/** Contents that templates are known to touch. */
const contents: readonly { name: string; of: (text: string) => string; rewritten: boolean }[] = [
  { name: "plain text", of: (text) => text, rewritten: false },
  { name: "spaces around the contents", of: (text) => `  ${text} \n`, rewritten: true },
  { name: "line breaks inside", of: (text) => `${text}\n\n#_P\n${text}`, rewritten: false },
  { name: "a thinking block", of: (text) => `<think>${text}</think>${text}`, rewritten: true },
  {
    name: "tags",
    of: (text) => `<observation>${text}</observation><answer>${text}</answer>`,
    rewritten: false,
  },
];

function verify(template: ChatTemplate, delimiters: ChatDelimiters): void {
  for (const opening of [null, system]) {
    for (let turns = 1; turns <= users.length; turns++) {
      for (const { name, of, rewritten } of contents) {
        const probe = Array.from({ length: turns }, (_, i) => ({
          user: of(users[i]),
          ...(i < turns - 1 && { reply: of(replies[i]) }),
        }));
        const where = `${turns} turn${turns > 1 ? "s" : ""}, ${opening === null ? "no" : "a"} system message, ${name}`;
        const messages = probe.flatMap(({ user: said, reply }) =>
          reply === undefined ? [user(said)] : [user(said), assistant(reply)],
        );
        const expected = conversationText(delimiters, opening === null ? null : of(opening), probe);
        const replied: Parts = expected.map((part) =>
          rewritten && probe.some(({ reply }) => reply === part) ? null : part,
        );
        compare(
          where,
          replied,
          rendered(template, where, opening === null ? null : of(opening), messages, delimiters),
        );
      }
    }
  }
}

/** The template's text; a system message that it does not know stands in front of the first user message. */
function rendered(
  template: ChatTemplate,
  where: string,
  opening: string | null,
  messages: Message[],
  { systemToUser, trims: cutsSpace }: ChatDelimiters,
): string {
  if (opening === null) return withoutThink(render(template, where, messages, true));
  const content = cutsSpace ? strip(opening) : opening;
  const joined = cutsSpace ? strip(messages[0].content) : messages[0].content;
  const withSystem: Message[] = takesSystem(template)
    ? [{ role: "system", content: opening }, ...messages]
    : [user(`${content}${systemToUser}${joined}`), ...messages.slice(1)];
  return withoutThink(render(template, where, withSystem, true));
}

/** Without the thinking block that the generation prompt of some templates opens. */
function withoutThink(text: string): string {
  return text.replace(/<think>\s*(<\/think>\s*)?$/, "");
}

function compare(where: string, expected: Parts, actual: string): void {
  let at = 0;
  for (const [i, part] of expected.entries()) {
    if (part === null) continue;
    const found = expected[i - 1] === null ? actual.indexOf(part, at) : at;
    if (found < 0 || !actual.startsWith(part, found)) throw differs(where, part, actual.slice(at));
    at = found + part.length;
  }
  if (at !== actual.length) throw differs(where, "", actual.slice(at));
}

function differs(where: string, expected: string, actual: string): Error {
  let same = 0;
  while (same < expected.length && expected[same] === actual[same]) same++;
  const begin = Math.max(0, same - 10);
  return badTemplate(
    `on a conversation with ${where} it does not write turns one after another: ` +
      `expected ${quote(expected.slice(begin))}, got ${quote(actual.slice(begin))}`,
  );
}

/** The text around the contents of messages: one piece more than there are messages. */
function cut(where: string, text: string, messages: readonly Message[]): string[] {
  const pieces: string[] = [];
  let at = 0;
  for (const { role, content } of messages) {
    const found = text.indexOf(content, at);
    if (found < 0 || text.indexOf(content, found + 1) >= 0) {
      throw badTemplate(
        `on ${where} it does not write the ${role}'s message once, in its place: ${quote(text)}`,
      );
    }
    pieces.push(text.slice(at, found));
    at = found + content.length;
  }
  return [...pieces, text.slice(at)];
}

function render(template: ChatTemplate, where: string, messages: Message[], prompt: boolean): string {
  try {
    return template(messages, prompt);
  } catch (cause) {
    throw badTemplate(`on ${where} it fails: ${(cause as Error).message}`, cause);
  }
}

function afterPrefix(where: string, text: string, prefix: string): string {
  if (text.startsWith(prefix)) return text.slice(prefix.length);
  throw badTemplate(`before ${where} it writes ${quote(text)} instead of ${quote(prefix)} and an opening`);
}

function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

function user(content: string): Message {
  return { role: "user", content };
}

function assistant(content: string): Message {
  return { role: "assistant", content };
}
