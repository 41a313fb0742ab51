// Hundreds of expressions and small templates, against what Jinja2 3.1.6 makes of them.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { JinjaError } from "../../lib/jinja/error.ts";
import { Template } from "../../lib/jinja/template.ts";

interface Case {
  source: string;
  text?: string;
  error?: string;
}

const { variables, cases } = JSON.parse(
  readFileSync(new URL("../fixtures/jinja/expressions.json", import.meta.url), "utf8"),
) as { variables: Record<string, unknown>; cases: Case[] };

/** What of Jinja2 is refused by its name, and nothing else. */
const leftOut =
  /encode|striptags|wordwrap|random|filesizeformat|pprint|cycler|lipsum|joiner|self|block|autoescape|printing a|\\N/;

function outcome({ source }: Case): string | JinjaError {
  try {
    return new Template(source).render({ ...variables, strftime_now: () => "2024" });
  } catch (error) {
    expect(error).toBeInstanceOf(JinjaError);
    return error as JinjaError;
  }
}

describe("Jinja2's expressions", () => {
  it.each(cases)("$source", (one) => {
    const result = outcome(one);
    if (result instanceof JinjaError && result.kind === "unsupported") {
      expect(result.message).toMatch(leftOut);
      expect(result.line).toBe(1);
      return;
    }
    if (one.text !== undefined) expect(result).toBe(one.text);
    // Where an object lies in memory can only be refused as what this engine does not have.
    else if (one.error !== "address") expect(result).toBeInstanceOf(JinjaError);
    else expect.unreachable("an address was printed");
  });

  it("leaves no more than a few expressions out", () => {
    const isLeftOut = (one: Case) => {
      const result = outcome(one);
      return one.text !== undefined && result instanceof JinjaError;
    };
    expect(cases.filter(isLeftOut).length).toBeLessThan(cases.length * 0.02);
  });
});

describe("an error", () => {
  const failure = (source: string): JinjaError => {
    const result = outcome({ source });
    expect(result).toBeInstanceOf(JinjaError);
    return result as JinjaError;
  };

  it.each([
    ["{% if true %}\n{{ 1 +\n }}\n{% endif %}", "syntax", 3, "{{ 1 +\n }}"],
    ["a\n{# b\n #}\n{{ messages[9].role }}", "runtime", 4, "{{ messages[9].role }}"],
    ["\n\n{% set x = none + 1 %}", "runtime", 3, "{% set x = none + 1 %}"],
    ["{% for m in messages %}\r\n{{ m | pprint }}\r\n{% endfor %}", "unsupported", 2, "{{ m | pprint }}"],
    ["\n{{ raise_exception('roles') }}", "runtime", 2, "{{ raise_exception('roles') }}"],
    ["{% macro m(x) %}\n{{ x.y.z }}{% endmacro %}\n{{ m(1) }}", "runtime", 2, "{{ x.y.z }}"],
    ["\n{{ 'a' | rot13 }}", "syntax", 2, "{{ 'a' | rot13 }}"],
    ["\n{% block a %}{% endblock %}", "unsupported", 2, "{% block a %}"],
  ])("of %j names kind, line and tag", (source, kind, line, tag) => {
    expect(failure(source)).toMatchObject({ kind, line, tag });
  });

  it.each([
    ["loops", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"],
    ["a long range", "{% for i in range(10 ** 9) %}x{% endfor %}"],
    ["a list of a range many times", "{{ range(100000) | list * 1000 }}"],
    ["a text many times", "{{ 'x' * 10 ** 9 }}"],
    [
      "a text that doubles",
      "{% set n = namespace(x='x') %}{% for i in range(64) %}{% set n.x = n.x + n.x %}{% endfor %}",
    ],
    [
      "a text that doubles by ~",
      "{% set n = namespace(x='x') %}{% for i in range(64) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    ],
    ["replacements", "{% set a = 'a' * 10000 %}{{ a | replace('a', a) | replace('a', a) }}"],
    ["replacements by a method", "{% set a = 'a' * 10000 %}{{ a.replace('a', a).replace('', a) }}"],
    ["joins", "{% set a = 'a' * 100000 %}{{ a.join(a) }}{{ [a] * 1000 | join(a) }}"],
    ["widths", "{{ '%1000000000d' % 1 }}"],
    ["widths of format", "{{ '{:1000000000}'.format(1) }}"],
    ["widths of center", "{{ 'a'.center(10 ** 9) }}{{ 'a' | center(10 ** 9) }}"],
    ["indents", "{{ ('\n' * 100000) | indent('x' * 10000, blank=true) }}"],
    ["powers", "{{ 9 ** (9 ** 9) }}"],
    [
      "products",
      "{% set n = namespace(x=3) %}{% for i in range(99999) %}{% set n.x = n.x * n.x %}{% endfor %}",
    ],
    ["a macro that calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"],
    [
      "a macro that calls itself twice",
      "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    ],
    ["a recursive loop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"],
    ["parentheses", `{{ ${"(".repeat(100_000)}1${")".repeat(100_000)} }}`],
    ["signs", `{{ ${"-".repeat(100_000)}1 }}`],
    ["sums", `{{ 1${" + 1".repeat(100_000)} }}`],
    ["blocks", `${"{% if 1 %}".repeat(50_000)}${"{% endif %}".repeat(50_000)}`],
    [
      "generators",
      "{% set n = namespace(x=[1]) %}{% for i in range(50000) %}{% set n.x = n.x | map('string') %}{% endfor %}{{ n.x | list }}",
    ],
    [
      "lists in lists",
      "{% set n = namespace(x=[]) %}{% for i in range(64) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    ],
    [
      "JSON of lists in lists",
      "{% set n = namespace(x=[]) %}{% for i in range(64) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
    ],
    [
      "equal lists in lists",
      "{% set n = namespace(x=[], y=[]) %}{% for i in range(64) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
    ],
    ["batches", "{{ [1] | batch(10 ** 12, 'x') | list }}"],
    ["slices", "{{ [1] | slice(10 ** 9) | list }}"],
  ])("ends %s", (_, source) => {
    expect(["limit", "runtime", "unsupported"]).toContain(failure(source).kind);
  });
});
