import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { Script } from "node:vm";
import { expect, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { type Chart, type ChartSheet, chartSheet } from "../../lib/report/charts.ts";
import { resultSection } from "../../lib/report/result-section.ts";
import { writeReport } from "../../lib/report/write-report.ts";
import { type Evaluation, nameRates } from "../../lib/run/evaluation.ts";
import type { MetricsRow } from "../../lib/run/metrics.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { chromium, openPage } from "./chromium.ts";
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

function chartData(page: string): { charts: Chart[]; columns: ChartSheet["columns"] } {
  const [, data] = /<script type="application\/json" id="chart-data">(.*?)<\/script>/s.exec(page)!;
  return JSON.parse(data) as ReturnType<typeof chartData>;
}

/** The charts of one run's rows. */
function sectionsOf(rows: MetricsRow[]): ChartSheet["sections"] {
  return chartSheet([{ name: "run", metrics: rows }]).sections;
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
    if (["meta", "link", "br", "input"].includes(name)) continue;
    if (closing === "") open.push(name);
    else if (open.at(-1) === name) open.pop();
    else return [...open, `/${name}`];
  }
  return open;
}

test("its scripts are complete, whatever the trajectories say", async () => {
  const page = await exampleReport();
  const scripts = Array.from(page.matchAll(/<script>(.*?)<\/script>/gs), ([, source]) => source);
  expect(scripts).toHaveLength(3);
  for (const source of scripts) expect(() => new Script(source)).not.toThrow();
  expect(page).not.toContain("<script>alert");
  expect(textOf(section(page, "trajectories"))).toContain(hostile.slice(0, 30));
  expect(page).toContain("<dd>&lt;b&gt;example&lt;/b&gt;");
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
  const { charts, columns } = chartData(await exampleReport());
  expect(columns["control/ppo"]).toEqual({
    step: [1, 2, 3, 4, 5, 6],
    tokens: [1000, 2000, 3000, 4000, 5000, 6000],
    time: [2, 4, 6, 8, 10, 12],
  });
  const reward = charts.find(({ id }) => id === "ppo-reward")!;
  expect(reward.series.map(({ name, color }) => [name, color])).toEqual([
    ["SPA", 0],
    ["Control", 1],
  ]);
  expect(reward.series[1].values).toEqual([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
  expect(reward.summary).toBe("SPA 0.2 → 0.7; Control 0.1 → 0.6");
  const entropy = charts.find(({ id }) => id === "ppo-entropy")!;
  expect(entropy.series[0].values.map((value) => value === null)).toEqual([
    false,
    false,
    true,
    false,
    false,
    false,
  ]);
  const validation = charts.find(({ id }) => id === "ppo-pass-at-1")!;
  expect(validation).toMatchObject({ share: true, summary: "SPA 50.0 %" });
  expect(validation.series.map(({ values }) => values)).toEqual([[null, null, null, null, 0.5, null]]);
  expect(charts.map(({ id }) => id)).not.toContain("ppo-value-loss");
});

test("lines of several runs are told apart by the runs' names", () => {
  const metrics = [1, 2].map((step) => ({
    stage: "spa/ppo",
    step,
    reward_mean: step,
    tokens_seen: 10 * step,
  }));
  const { sections, columns } = chartSheet(["a", "b"].map((name) => ({ name, metrics })));
  const series = sections[0].charts[0].series.map(({ name, color, stage }) => [name, color, stage]);
  expect(series).toEqual([
    ["a: SPA", 0, "a: spa/ppo"],
    ["b: SPA", 1, "b: spa/ppo"],
  ]);
  expect(columns["b: spa/ppo"]).toEqual({ step: [1, 2], tokens: [10, 20], time: [null, null] });
});

test("of long stages every so manieth step is drawn, and the last", () => {
  const metrics = Array.from({ length: 10_000 }, (_, step) => ({
    stage: "spa/ppo",
    step,
    reward_mean: step,
  }));
  const { step } = chartSheet([{ name: "run", metrics }]).columns["spa/ppo"];
  expect([step.length, step[1], step.at(-2), step.at(-1)]).toEqual([2501, 4, 9996, 9999]);
});

test("what ends outside of its healthy range is said by chart and arm", async () => {
  const page = await exampleReport();
  const { charts } = chartData(page);
  const format = charts.find(({ id }) => id === "ppo-format")!;
  expect(format.range).toEqual({ low: 0.95 });
  expect(format.outside).toEqual(["SPA 90.0 %, healthy: above 0.95", "Control 90.0 %, healthy: above 0.95"]);
  expect(textOf(section(page, "curves"))).toContain("Valid turns: SPA 90.0 %, healthy: above 0.95; Control");
  const accuracies = (stage: string) =>
    sectionsOf([{ stage, step: 1, prediction_accuracy: 0.25 }])[0].more.map(({ outside }) => outside.length);
  expect([accuracies("spa/ppo"), accuracies("format-only/ppo")]).toEqual([[1], [0]]);
});

test("the header says what the run is, and what it changes of its preset", async () => {
  const [header] = /<header>.*?<\/header>/s.exec(await exampleReport())!;
  const text = textOf(header.replace(/<dt>/g, " $&").replace(/<li>/g, " $&"));
  expect(text).toContain("StateEvaluation: SPA under way");
  expect(text).toContain("protocol.maxTurns 3 instead of 5");
  expect(text).toContain("run 1; levels from 10000 (training), 5000 (tuning), 123 (test)");
  expect(text).toContain("spa-ai 0.1.0, commit 0123456789ab");
  expect(text).toContain("a machine");
  expect(text).toContain("247k sampled, 12.0k trained on");
});

test("rounds of SFT are told apart, and so are several metrics of a chart", () => {
  const rows = ["spa/sft", "spa/sft-2"].map((stage) => ({ stage, step: 1, loss: 1, validation_loss: 2 }));
  const [{ charts }] = sectionsOf(rows);
  expect(charts[0].series.map(({ name, dashed, color }) => [name, dashed, color])).toEqual([
    ["SPA, round 1", false, 0],
    ["SPA, round 2", false, 6],
    ["SPA, round 1, validation", true, 0],
    ["SPA, round 2, validation", true, 6],
  ]);
});

test("stages stand with times and tokens", async () => {
  const text = section(await exampleReport(), "stages")
    .replace(/<[^>]*>|\s+/g, " ")
    .replace(/ +/g, " ");
  expect(text).toContain("SPA: PPO 1m16s 123k 6000 1715");
  expect(text).toContain("Evaluation: SPA under way");
});

test("trajectories are cut into turns, roles are named, a wrong prediction is marked beside the truth", async () => {
  const page = section(await exampleReport(), "trajectories");
  expect(page).toContain("SPA: PPO <span>12 of 30 logged, 12 of them solved</span>");
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
    const { page, errors } = await openPage(`file://${writeReport(await exampleRun())}`);
    const shown = await page.locator(".plot:has(.uplot)").evaluateAll((plots) => plots.map(({ id }) => id));
    expect(shown).toEqual(["ppo-reward", "ppo-success", "ppo-pass-at-1", "ppo-entropy"]);
    expect(errors).toEqual([]);
  });

  test("charts over tokens, read by one cursor, as CSV and PNG", async () => {
    const { page, errors } = await openPage(`file://${writeReport(await exampleRun())}`);
    await page.getByLabel("Over").selectOption("tokens");
    const reward = page.locator("#ppo-reward");
    const over = reward.locator(".u-over");
    const { width, height } = (await over.boundingBox())!;
    await over.hover({ position: { x: width - 1, y: height / 2 } });
    const lastOf = (id: string) => page.locator(`#${id} .u-legend .u-value`).allTextContents();
    await expect.poll(async () => (await lastOf("ppo-reward")).at(0)).toBe("6000");
    expect((await lastOf("ppo-success")).at(0)).toBe("6000");
    expect((await lastOf("ppo-reward")).filter((text) => text !== "--")).toContain("0.6");

    const figure = page.locator(".chart", { has: reward });
    const saved = async (name: string) => {
      const download = page.waitForEvent("download");
      await figure.getByRole("button", { name }).click();
      const file = await download;
      return { name: file.suggestedFilename(), content: readFileSync(await file.path()) };
    };
    const csv = await saved("CSV");
    expect(csv.name).toBe("ppo-reward.csv");
    const lines = csv.content.toString().split("\r\n");
    expect(lines[0]).toBe('"line","step","tokens","seconds","Reward"');
    expect(lines[12]).toBe('"Control",6,6000,12,0.6');
    const png = await saved("PNG");
    expect(png.content.subarray(1, 4).toString()).toBe("PNG");
    expect(errors).toEqual([]);
  });
}

test("Pass@k goes by its k: a chart and a column for each", () => {
  const rows = [2, 4].map((k) => ({ stage: "spa/ppo", step: k, [`validation_pass_at_${k}`]: k / 8 }));
  const [{ charts }] = sectionsOf(rows);
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
