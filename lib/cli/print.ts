// The one way from a command to the terminal, and the one place in lib/ that may use the console (biome.json).

import { Document, visit } from "yaml";
import { holdsHidden, visibleJson, visibleText } from "../visible-text.ts";

/** Prints text, a line feed behind it. */
export function print(text: string): void {
  console.log(visibleText(text));
}

/** The same to standard error. */
export function printError(text: string): void {
  console.error(visibleText(text));
}

/** Prints text in which all that others wrote is visible already, with escape sequences of our own. */
export function printPainted(text: string): void {
  console.log(text);
}

/** Prints a value as JSON, on one line or indented. */
export function printJson(value: unknown, indent?: number): void {
  console.log(visibleJson(value, indent));
}

/** A value as YAML that reads back the same when it was printed: what has to be escaped stands in double quotes. */
export function toYaml(value: unknown): string {
  const document = new Document(value, { aliasDuplicateObjects: false });
  visit(document, {
    Scalar(_, scalar) {
      if (typeof scalar.value === "string" && holdsHidden(scalar.value)) scalar.type = "QUOTE_DOUBLE";
    },
  });
  return visibleText(document.toString());
}
