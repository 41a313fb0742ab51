import { JinjaError, raised } from "./error.ts";
import { filters, missingFilters } from "./filters.ts";
import { globals } from "./globals.ts";
import { parseTemplate } from "./parser.ts";
import { Renderer } from "./renderer.ts";
import { textOf } from "./representation.ts";
import { Scope } from "./scope.ts";
import type { Statement } from "./syntax.ts";
import { tests } from "./tests.ts";
import { Callable, toValue, type Value } from "./values.ts";

/**
 * A Jinja2 template, rendered as Jinja2 3.1 does it in transformers' set-up: sandboxed, `trim_blocks`, `lstrip_blocks`, without
 * autoescape, with break, continue, `{% generation %}`, tojson and raise_exception. What a rendering takes is bounded.
 */
export class Template {
  readonly #statements: readonly Statement[];

  /** @throws JinjaError of kind syntax or unsupported */
  constructor(source: string) {
    try {
      this.#statements = parseTemplate(source);
      checkNames(this.#statements, undefined, false);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new JinjaError("limit", "it is nested too deeply");
    }
  }

  /**
   * @param variables JSON values; functions get their arguments as texts and return one
   * @throws JinjaError with line and tag
   */
  render(variables: Readonly<Record<string, unknown>>): string {
    const root = new Scope();
    const { raise_exception, ...all } = { ...globals, raise_exception: raiseException, ...variables };
    root.set("raise_exception", raise_exception as Value);
    for (const [name, value] of Object.entries(all)) {
      root.set(
        name,
        typeof value === "function"
          ? textFunction(name, value as (...texts: string[]) => string)
          : toValue(value),
      );
    }
    return new Renderer().render(this.#statements, new Scope(root));
  }
}

const raiseException = new Callable("raise_exception", ([message]) => {
  throw raised(textOf(message ?? null));
});

function textFunction(name: string, run: (...texts: string[]) => string): Callable {
  return new Callable(name, (values) => {
    try {
      return run(...values.map(textOf));
    } catch (error) {
      throw raised((error as Error).message);
    }
  });
}

/**
 * Refuses filters and tests that Jinja2 does not have, as it does when it compiles: everywhere but inside of conditions, where
 * a template may ask for them first.
 */
function checkNames(node: unknown, statement: Statement | undefined, isSoft: boolean): void {
  if (typeof node !== "object" || node === null) return;
  if (Array.isArray(node)) {
    for (const child of node) checkNames(child, statement, isSoft);
    return;
  }
  const { type, name, line } = node as { type?: string; name?: string; line?: number };
  const within = line === undefined ? statement : (node as Statement);
  const known =
    type === "filter"
      ? { ...filters, ...Object.fromEntries([...missingFilters].map((one) => [one, 1])) }
      : tests;
  if (!isSoft && (type === "filter" || type === "test") && !Object.hasOwn(known, name as string)) {
    throw new JinjaError("syntax", `No ${type} named '${name}'.`, within?.line, within?.tag);
  }
  const soft =
    type === "if" || type === "condition"
      ? true
      : line === undefined || type === "print" || type === "set"
        ? isSoft
        : false;
  for (const child of Object.values(node)) checkNames(child, within, soft);
}
