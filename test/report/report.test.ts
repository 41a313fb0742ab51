import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { Script } from "node:vm";
import { expect, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { type Chart, chartSections } from "../../lib/report/charts.ts";
import { resultSection } from "../../lib/report/result-section.ts";
import { writeReport } from "../../lib/report/write-report.ts";
import { type Evaluation, nameRates } from "../../lib/run/evaluation.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { chromium, renderedPage } from "./chromium.ts";
import { exampleRun, hostile, results } from "./example-run.ts";

async function exampleReport(): Promise<string> {
  const file = await writeReport(await exampleRun());
  expect(basename(file)).toBe("report.html");
  return readFileSync(file, "utf8");
}

/** What an element's text says to a reader. */
function textOf(html: string): string {
  const plain = html.replace(/<[^>]*>/g, "");
  const entities: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"', "#39": "'" };
  return plain.replace(/&(lt|gt|amp|quot|#39);/g, (_, name: string) => entities[name]);
}

function section(page: string, id: string): string {
  const begin = page.indexOf(`<section id="${id}">`);
  expect(begin).toBeGreaterThan(0);
  return page.slice(begin, page.indexOf("</section>", begin));
}

function chartData(page: string): Chart[] {
  const [, data] = /<script type="application\/json" id="chart-data">(.*?)<\/script>/s.exec(page)!;
  return JSON.parse(data) as Chart[];
}

test("the page is well-formed and refers to nothing outside itself", async () => {
  const page = await exampleReport();
  expect(page.startsWith("<!doctype html>")).toBe(true);
  const markup = page.replace(/<(script|style)[^>]*>.*?<\/\1>/gs, "");
  expect(markup).not.toMatch(/\s(src|srcset|href)="(?!#)/);
  expect(page.match(/<style>.*?<\/style>/s)![0]).not.toMatch(/@import|url\(/);
  expect(openElements(markup)).toEqual([]);
  const ids = Array.from(markup.matchAll(/\sid="([^"]*)"/g), ([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const [, target] of markup.matchAll(/href="#([^"]*)"/g)) expect(ids).toContain(target);
});

/** Elements that are not closed in order. */
function openElements(markup: string): string[] {
  const open: string[] = [];
  for (const [, closing, name] of markup.matchAll(/<(\/?)([a-z][a-z0-9]*)\b[^>]*>/g)) {
    if (["meta", "link", "br"].includes(name)) continue;
    if (closing === "") open.push(name);
    else if (open.at(-1) === name) open.pop();
    else return [...open, `/${name}`];
  }
  return open;
}

test("its scripts are complete, whatever the trajectories say", async () => {
  const page = await exampleReport();
  const scripts = Array.from(page.matchAll(/<script>(.*?)<\/script>/gs), ([, source]) => source);
  expect(scripts).toHaveLength(2);
  for (const source of scripts) expect(() => new Script(source)).not.toThrow();
  expect(page).not.toContain("<script>alert");
  expect(textOf(section(page, "trajectories"))).toContain(hostile.slice(0, 30));
  expect(page).toContain("preset &lt;b&gt;example&lt;/b&gt;");
});

test("results stand with their intervals", async () => {
  const page = await exampleReport();
  const text = textOf(section(page, "results")).replace(/\s+/g, " ");
  expect(text).toContain("77.1 %");
  expect(text).toContain("control 25.2 %: +51.9 points");
  expect(text).toContain(
    "Test: 4 levels, shortest solutions of 1.50 actions on average: 1 x 2, 2 x 2. Tuning: 1 level of unknown distance.",
  );
  expect(text).toContain("[72.1, 82.1]");
  expect(text).toContain("64.9 % of predictions right (50.0 % where the state changed)");
  const policies = Array.from(page.matchAll(/<th scope="row">([^<]+)<small>/g), ([, name]) => name);
  expect(policies).toEqual(["After SFT", "Control", "SPA"]);
});

test("curves hold what was logged, one line an arm, with gaps where there was no figure", async () => {
  const charts = chartData(await exampleReport());
  const reward = charts.find(({ id }) => id === "ppo-reward")!;
  expect(reward.x).toEqual([1, 2, 3, 4, 5, 6]);
  expect(reward.series.map(({ name, color }) => [name, color])).toEqual([
    ["SPA", 0],
    ["Control", 1],
  ]);
  expect(reward.series[1].values).toEqual([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
  expect(reward.summary).toBe("SPA 0.2 → 0.7; Control 0.1 → 0.6");
  const entropy = charts.find(({ id }) => id === "ppo-entropy")!;
  expect(entropy.x).toEqual([1, 2, 4, 5, 6]);
  const validation = charts.find(({ id }) => id === "ppo-pass-at-1")!;
  expect(validation).toMatchObject({ x: [5], share: true, summary: "SPA 50.0 %" });
  expect(charts.map(({ id }) => id)).not.toContain("ppo-value-loss");
});

test("rounds of SFT are told apart, and so are several metrics of a chart", () => {
  const rows = ["spa/sft", "spa/sft-2"].map((stage) => ({ stage, step: 1, loss: 1, validation_loss: 2 }));
  const [{ charts }] = chartSections(rows);
  expect(charts[0].series.map(({ name, dashed, color }) => [name, dashed, color])).toEqual([
    ["SPA (sft)", false, 0],
    ["SPA (sft-2)", false, 6],
    ["SPA (sft), validation", true, 0],
    ["SPA (sft-2), validation", true, 6],
  ]);
});

test("stages stand with times and tokens", async () => {
  const text = section(await exampleReport(), "stages")
    .replace(/<[^>]*>|\s+/g, " ")
    .replace(/ +/g, " ");
  expect(text).toContain("spa/ppo 1m16s 123k 6000 1715");
  expect(text).toContain("evaluate/spa under way");
});

test("trajectories are cut into turns, roles are named, a wrong prediction is marked beside the truth", async () => {
  const page = section(await exampleReport(), "trajectories");
  expect(page).toContain("<code>spa/ppo</code> <span>12 of 30 logged, 12 of them solved</span>");
  const [first] = page.match(/<details class="trajectory">.*?<\/details>/s)!;
  expect(textOf(first)).toContain("step 1 · level seed");
  expect(first.match(/<div class="turn">/g)).toHaveLength(2);
  expect(first).toMatch(
    /<span class="role-observation sampled" title="observation, \d+ tokens, mean log-prob -0.25">/,
  );
  expect(first).toMatch(/<span class="role-prompt" title="prompt, \d+ tokens">/);
  expect(textOf(first)).toContain("Observed ✓ right");
  expect(textOf(first)).toContain("Predicted ✗ wrong");
  expect(first).toContain('<mark class="wrong">P</mark>__');
  expect(first).toContain('_<mark class="missed">P</mark>_');
});

test("Pass@k over k: a line and a band a policy, none without a k in between", () => {
  const { spa, control } = results.evaluations;
  const curved: Evaluation = {
    ...spa,
    samples: 4,
    passAt: { 1: 0.25, 2: 0.5, 4: 1 },
    passAt1: 0.25,
    passAtK: 1,
    ci95: { passAt1: [0, 0.5], passAtK: [0.75, 1], passAt: { 1: [0, 0.5], 2: [0.25, 0.5], 4: [0.75, 1] } },
  };
  const { text } = resultSection({ spa: curved, control });
  // The plot is from (48, 8) to (708, 284); k stands on a logarithmic scale.
  expect(text).toContain('<polyline class="arm-0" points="48.0,215.0 378.0,146.0 708.0,8.0"/>');
  const band = "48.0,146.0 378.0,146.0 708.0,8.0 708.0,77.0 378.0,215.0 48.0,284.0";
  expect(text).toContain(`<polygon class="arm-0" points="${band}"/>`);
  expect(text).toContain('aria-label="SPA 25.0 % at 1, 50.0 % at 2, 100.0 % at 4"');
  expect(text).not.toContain('<polyline class="arm-1"');
  expect(resultSection({ control }).text).not.toContain("<svg");
});

test("the world model by action count and part, of policies that write states", () => {
  const share = (value: number | null) => ({ share: value, count: 12 });
  const quality = (value: number) => ({
    all: share(value),
    changed: share(value - 0.125),
    unchanged: share(value + 0.125),
    byActions: { 10: share(0.25), 2: share(0.5), 1: share(0.75) },
    parts: { player: share(0.125) },
    cells: share(0.875),
  });
  const worldModel = {
    observation: quality(0.5),
    prediction: quality(0.25),
    followed: share(0.625),
    success: { firstRight: share(1), firstWrong: share(null) },
  };
  const { spa, control } = results.evaluations;
  const { text } = resultSection({ spa: { ...spa, worldModel }, control });
  const tables = text.slice(text.indexOf("<h3>World model</h3>")).match(/<table.*?<\/table>/gs)!;
  expect(
    tables.map((table) =>
      textOf(table.replace(/<(th|td)/g, " $&"))
        .replace(/\s+/g, " ")
        .trim(),
    ),
  ).toEqual([
    "Policy All Changed Unchanged 1 action 2 actions 10 actions player Cells SPAobservation 50.0 % 37.5 % 62.5 % 75.0 % 50.0 % 25.0 % 12.5 % 87.5 % SPAprediction 25.0 % 12.5 % 37.5 % 75.0 % 50.0 % 25.0 % 12.5 % 87.5 %",
    "Policy Carried out Success, first prediction right … wrong SPA 62.5 % 100.0 % –",
  ]);
  expect(tables[0]).toContain('<td title="of 12">12.5 %</td>');
  expect(resultSection({ control }).text).not.toContain("World model</h3>");
});

test("a run that has only begun has a report too", async () => {
  const whole = await exampleRun();
  const begun = RunFolder.create(configSchema.parse({}), { root: whole.file(".."), name: "begun" });
  const page = readFileSync(await writeReport(begun), "utf8");
  expect(textOf(page)).toContain("No policy has been evaluated yet.");
  expect(textOf(page)).toContain("No stage has logged metrics yet.");
});

// Where there is a browser, the page is looked at with it.
if (chromium !== undefined) {
  test("a browser draws every chart that is not behind a fold, without an error", async () => {
    const run = await exampleRun();
    const dom = await renderedPage(await writeReport(run));
    const shown = Array.from(
      dom.matchAll(/<div class="plot" id="([^"]*)"[^>]*><div[^>]*class="uplot/g),
      ([, id]) => id,
    );
    expect(shown).toEqual(["ppo-reward", "ppo-success", "ppo-pass-at-1", "ppo-entropy"]);
  });
}

test("Pass@k goes by its k: a chart and a column for each", () => {
  const rows = [2, 4].map((k) => ({ stage: "spa/ppo", step: k, [`validation_pass_at_${k}`]: k / 8 }));
  const [{ charts }] = chartSections(rows);
  expect(charts.map(({ id, title, summary }) => [id, title, summary])).toEqual([
    ["ppo-pass-at-2", "Pass@2 on tuning levels", "SPA 25.0 %"],
    ["ppo-pass-at-4", "Pass@4 on tuning levels", "SPA 50.0 %"],
  ]);
  const evaluation = (passAtK: number, samples: number): Evaluation => ({
    ...nameRates(0.5, passAtK, samples),
    k: samples,
    ci95: nameRates([0, 1], [0, 1], samples),
    formatRate: 1,
    observationAccuracy: null,
    predictionAccuracy: null,
    predictionAccuracyChanged: null,
    byDistance: {},
    levels: 2,
    samples,
  });
  const { text } = resultSection({ spa: evaluation(0.75, 4), control: evaluation(0.625, 8) });
  const cells = text.match(/<th scope="col">Pass@\d|<tr><th scope="row">\w+|<td>–<\/td>|[\d.]+ %(?=<\/b>)/g)!;
  expect(cells.join(" ").replaceAll(/<[^>]*>/g, "")).toContain(
    "Pass@1 Pass@4 Pass@8 Control 50.0 % – 62.5 % – – – SPA 50.0 % 75.0 % –",
  );
  // Nothing to compare but Pass@1.
  expect(text.match(/<h3>Pass@\d, SPA/g)).toEqual(["<h3>Pass@1, SPA"]);
});
