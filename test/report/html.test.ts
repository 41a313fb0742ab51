import fc from "fast-check";
import { expect, test } from "vitest";
import { embedJson, escapeHtml, html } from "../../lib/report/html.ts";

test("insertions are escaped, templates are not", () => {
  const inner = html`<b>${"<&>"}</b>`;
  expect(html`<p title="${`"'`}">${inner}${[1, "a", inner]}${undefined}${false}</p>`.text).toBe(
    '<p title="&quot;&#39;"><b>&lt;&amp;&gt;</b>1a<b>&lt;&amp;&gt;</b></p>',
  );
});

test("control characters are shown, not obeyed", () => {
  expect(escapeHtml("\x1b[31m\n\t\u202e")).toBe("␛[31m\n\t\ufffd");
});

test("embedded JSON holds no character that could end its element, and reads as it was", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const { text } = embedJson(value);
      expect(text).not.toMatch(/[<>&\u2028\u2029]/);
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
  expect(embedJson("</script>").text).not.toContain("<");
});
