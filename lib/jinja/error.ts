/**
 * Why a template could not be rendered: it breaks Jinja2's grammar (`syntax`); Jinja2 raises an error, too (`runtime`); it
 * needs something of Python or Jinja2 that this engine does not have (`unsupported`); or it makes too much (`limit`).
 */
export type JinjaErrorKind = "syntax" | "runtime" | "unsupported" | "limit";

/** A template that cannot be rendered. `line` counts from 1; `tag` is the text of the tag in which it happened. */
export class JinjaError extends Error {
  override readonly name = "JinjaError";
  readonly kind: JinjaErrorKind;
  line: number | undefined;
  tag: string | undefined;

  constructor(kind: JinjaErrorKind, message: string, line?: number, tag?: string) {
    super(message);
    this.kind = kind;
    this.line = line;
    this.tag = tag;
  }
}

/** What Jinja2 or Python raise as well. */
export function raised(message: string): JinjaError {
  return new JinjaError("runtime", message);
}

/** What Jinja2 would do and this engine cannot. */
export function unsupported(message: string): JinjaError {
  return new JinjaError("unsupported", message);
}
