import { JinjaError } from "../jinja/error.ts";
import { badTemplate, type ChatTemplate, type Message, unusable } from "./chat-template.ts";
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
  /** Whether white space at the ends of the system message is cut off. */
  trimsSystem: boolean;
  /** Whether white space at the ends of user messages is cut off. */
  trimsUser: boolean;
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
  trimsSystem: false,
  trimsUser: false,
};

const system = "Probe text of the system";
const users = ["First probe of a user", "Second probe of a user", "Third probe of a user"];
const replies = ["First probe of a reply", "Second probe of a reply"];

/** A text in parts; `null` is a reply that the template may have rewritten. */
type Parts = (string | null)[];

/** What a template writes for replies, beside the delimiters. */
interface Thinking {
  /** Behind the opening of a reply to come. */
  prompted: string;
  /** Before the content of an earlier reply. */
  inserted: string;
}

/**
 * Finds the delimiters of a chat template from conversations with known contents, and checks on others that text which
 * is appended turn by turn is what the template writes for the whole. All are of the kind that a run makes: they end with a
 * user message and the generation prompt. What a template writes behind a last reply does not count.
 *
 * @param endOf the first token of a text if it is a special one, as text; else undefined.
 * @throws SpaError BAD_TOKENIZER with the conversation on which they differ, what was expected and what the template wrote;
 * UNSUPPORTED if the engine cannot render the template
 */
export function deriveDelimiters(
  template: ChatTemplate,
  endOf: (text: string) => string | undefined,
): ChatDelimiters {
  const [first, second] = users;
  const between = (name: string, messages: Message[]): string[] =>
    cut(name, render(template, name, messages), messages);

  const [begin, toCome] = between("a user message", [user(first)]);
  const two = [user(first), assistant(replies[0]), user(second)];
  const [, toReply, toUser] = between("two turns", two);
  const end = endOf(toUser);
  if (end === undefined) {
    throw badTemplate(
      `between a reply and the next user message it writes ${quote(toUser)}, which begins with no special token`,
    );
  }
  const { opening, thinking } = openingOf(toCome, toReply);
  const behindEnd = toUser.slice(end.length);
  const separator = /^\s*/.exec(behindEnd)?.[0] ?? "";
  // A user message is closed as a reply is, or not at all.
  const closeUser = opening.startsWith(end + separator) ? end + separator : "";
  const delimiters: ChatDelimiters = {
    begin,
    ...systemDelimiters(template, begin),
    openUser: behindEnd.slice(separator.length),
    closeUser,
    openAssistant: opening.slice(closeUser.length),
    ...{ end, separator },
    ...trims(template),
  };
  verify(template, delimiters, thinking);
  return delimiters;
}

/** A thinking block, open or closed, behind the opening of a reply, in the forms that models have for it. */
const thinkingBlock =
  /(?:<\|?\/?[\w:]*(?:think|thought|reason)\w*\|?>|\[\/?THINK\])(?:\s|<\|?\/?[\w:]*(?:think|thought|reason)\w*\|?>|\[\/?THINK\])*$/i;

/**
 * The opening of replies, from what is written before one to come and before an earlier one. A thinking block in both is part of
 * it. One that only a reply to come has is left to protocol.forceThink, and one that only earlier replies have is a rewriting
 * of history, which keeps what was sampled.
 */
function openingOf(toCome: string, earlier: string): { opening: string; thinking: Thinking } {
  if (toCome === earlier) return { opening: toCome, thinking: { prompted: "", inserted: "" } };
  const [plain, plainEarlier] = [toCome, earlier].map((text) => text.replace(thinkingBlock, ""));
  const opening = plain.length < plainEarlier.length ? plain : plainEarlier;
  // A block may stand on a line of its own.
  const added = [plain, plainEarlier].map((text) => text.slice(opening.length).trim());
  const isOpening = [toCome, earlier].every((text) => text.startsWith(opening));
  const isBlock = [toCome, earlier].every((text) => text === opening || thinkingBlock.test(text));
  if (!isOpening || !isBlock || added.join("") !== "") {
    throw badTemplate(
      `it writes ${quote(toCome)} for a reply to come, but ${quote(earlier)} before an earlier reply`,
    );
  }
  return {
    opening,
    thinking: { prompted: toCome.slice(opening.length), inserted: earlier.slice(opening.length) },
  };
}

/** A template without system messages gets them in front of the first user message, with an empty line between. */
function systemDelimiters(
  template: ChatTemplate,
  begin: string,
): Pick<ChatDelimiters, "openSystem" | "systemToUser"> {
  const messages: Message[] = [{ role: "system", content: system }, user(users[0])];
  if (!takesSystem(template)) return { openSystem: begin, systemToUser: "\n\n" };
  const name = "a system message";
  const [openSystem, systemToUser] = cut(name, render(template, name, messages), messages);
  return { openSystem, systemToUser };
}

/** Whether a template writes system messages, rather than refuse or omit them. */
function takesSystem(template: ChatTemplate): boolean {
  try {
    return template([{ role: "system", content: system }, user(users[0])], true).includes(system);
  } catch (error) {
    if (error instanceof JinjaError && error.kind === "runtime") return false;
    throw unusable("on a system message it fails", error as Error);
  }
}

/** Which contents lose the white space at their ends. */
function trims(template: ChatTemplate): Pick<ChatDelimiters, "trimsSystem" | "trimsUser"> {
  const isCut = (content: string, messages: Message[]): boolean =>
    !render(template, "spaces around a message", messages).includes(content);
  const spaced = `  ${users[0]}  `;
  const trimsUser = isCut(spaced, [user(spaced)]);
  const opening = `  ${system}  `;
  const trimsSystem = takesSystem(template)
    ? isCut(opening, [{ role: "system", content: opening }, user(users[0])])
    : trimsUser;
  return { trimsSystem, trimsUser };
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
  const parts =
    opening === null ? [begin] : [openSystem, trimmed(opening, delimiters.trimsSystem), systemToUser];
  for (const [i, turn] of turns.entries()) {
    if (i > 0) parts.push(openUser);
    parts.push(trimmed(turn.user, delimiters.trimsUser), closeUser, openAssistant);
    if (turn.reply !== undefined) parts.push(turn.reply, end, separator);
  }
  return parts;
}

function trimmed(content: string, trims: boolean): string {
  return trims ? strip(content) : content;
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

function verify(template: ChatTemplate, delimiters: ChatDelimiters, thinking: Thinking): void {
  for (const opening of [null, system]) {
    for (let turns = 1; turns <= users.length; turns++) {
      for (const { name, of, rewritten } of contents) {
        const probe = Array.from({ length: turns }, (_, i) => ({
          user: of(users[i]),
          ...(i < turns - 1 && { reply: of(replies[i]) }),
        }));
        const where = `${turns} turn${turns > 1 ? "s" : ""}, ${opening === null ? "no" : "a"} system message, ${name}`;
        const messages = probe.flatMap(({ user: asked, reply }) =>
          reply === undefined ? [user(asked)] : [user(asked), assistant(reply)],
        );
        const parts = conversationText(delimiters, opening === null ? null : of(opening), probe);
        const said = probe.flatMap(({ reply }) => (reply === undefined ? [] : [reply]));
        const expected = expectedParts(parts, said, thinking, rewritten);
        const text = rendered(template, where, opening === null ? null : of(opening), messages, delimiters);
        compare(where, expected, withoutPrompted(text, thinking));
      }
    }
  }
}

/** What a template writes for a conversation's text: around earlier replies it may have a thinking block of its own. */
function expectedParts(parts: string[], replies: string[], thinking: Thinking, rewritten: boolean): Parts {
  return parts.map((part, i) => {
    if (replies.includes(part)) return rewritten ? null : thinking.inserted + part;
    return rewritten && replies.includes(parts[i + 1]) ? part.replace(thinkingBlock, "") : part;
  });
}

/** The template's text; a system message that it does not know stands in front of the first user message. */
function rendered(
  template: ChatTemplate,
  where: string,
  opening: string | null,
  messages: Message[],
  { systemToUser, trimsSystem, trimsUser }: ChatDelimiters,
): string {
  if (opening === null) return render(template, where, messages);
  const joined = trimmed(opening, trimsSystem) + systemToUser + trimmed(messages[0].content, trimsUser);
  const withSystem: Message[] = takesSystem(template)
    ? [{ role: "system", content: opening }, ...messages]
    : [user(joined), ...messages.slice(1)];
  return render(template, where, withSystem);
}

function withoutPrompted(text: string, { prompted }: Thinking): string {
  return prompted !== "" && text.endsWith(prompted) ? text.slice(0, -prompted.length) : text;
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

function render(template: ChatTemplate, where: string, messages: Message[]): string {
  try {
    return template(messages, true);
  } catch (error) {
    throw unusable(`on ${where} it fails`, error as Error);
  }
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
