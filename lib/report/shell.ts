import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { packageRoot, packageVersion } from "../package.ts";
import { roleColors, roleNames } from "../text/roles.ts";
import { Html, html } from "./html.ts";

/** What a page consists of beside what all pages have. */
interface PageParts {
  title: string;
  /** Under the title, above the links to the sections. */
  facts: Html | string;
  /** Links to sections: their ids and names. */
  sections: readonly (readonly [id: string, name: string])[];
  main: Html;
  scripts?: readonly Html[];
}

/** An HTML page that needs nothing else: style, scripts and data stand in it. */
export function renderShell({ title, facts, sections, main, scripts = [] }: PageParts): string {
  const links = sections.map(([id, name]) => html`<a href="#${id}">${name}</a> `);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="spa-ai ${packageVersion()}">
<title>${title} · spa-ai</title>
<style>${styles()}</style>
</head>
<body>
<header>
<h1>${title}</h1>
${facts instanceof Html ? facts : html`<p>${facts}</p>`}
<nav aria-label="Sections">${links}</nav>
</header>
<main>
${main}
</main>
<footer>Written by spa-ai ${packageVersion()}. Each metric is explained in docs/metrics.md.</footer>
${scripts.map(
  (script) => html`<script>${script}</script>
`,
)}</body>
</html>
`;
  return page.text;
}

/** The style sheet of pages: uPlot's style, the report's, and the colours of the roles. */
export function styles(): Html {
  const light = roleNames.map((role) => `--role-${role}:${roleColors[role].css};`).join("");
  const rules = roleNames.map((role) => `.role-${role}{--role:var(--role-${role})}`).join("");
  return new Html(
    `${readModule("uplot/dist/uPlot.min.css")}\n:root{${light}}\n${asset("report.css").text}\n${rules}`,
  );
}

/** A script of this package's own dependencies; `</` could end the element that holds it. */
export function moduleScript(module: string): Html {
  return new Html(readModule(module).replaceAll("</", "<\\/"));
}

function readModule(module: string): string {
  return readFileSync(createRequire(import.meta.url).resolve(module), "utf8");
}

export function asset(file: string): Html {
  return new Html(readFileSync(join(packageRoot(), "lib", "report", "assets", file), "utf8"));
}
