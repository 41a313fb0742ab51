// What others have written (an agent, an environment, a file, the name of a folder) is shown, never obeyed: characters that
// would move the cursor, change colours or turn the direction of writing are shown by their numbers.

/** C0 but for tab and line feed, DEL, C1; marks, embeddings, overrides and isolates of direction; line separators. */
const hidden = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** `\x1b`, `\u202e`. */
function numberOf(character: string): string {
  const code = character.charCodeAt(0).toString(16);
  return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
}

/** Text of several lines as a terminal may be given it. */
export function visibleText(text: string): string {
  return text.replace(hidden, numberOf);
}

/** Text that must stay on its line. */
export function visibleLine(text: string): string {
  return visibleText(text).replaceAll("\n", "\\n").replaceAll("\t", "\\t");
}

/** Whether a text holds what {@link visibleText} shows by its number. */
export function holdsHidden(text: string): boolean {
  return text.search(hidden) >= 0;
}

/** JSON whose text is visible and means the same. */
export function visibleJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(
    hidden,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
