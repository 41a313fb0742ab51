import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { configSchema } from "../../lib/config/schema.ts";
import { RunFolder } from "../../lib/run/run-folder.ts";
import { watchRuns } from "../../lib/watch/server.ts";
import { WatchedRuns } from "../../lib/watch/watched-runs.ts";
import { start, writeTinyConfig } from "../cli/spa.ts";
import { chromium, openPage } from "../report/chromium.ts";
import { exampleRun } from "../report/example-run.ts";

async function serve(root: string): Promise<string> {
  const server = await watchRuns(new WatchedRuns([], root));
  onTestFinished(() => server.close());
  return server.address;
}

test.skipIf(chromium === undefined)("a run is followed while it works; what it says stays text", async () => {
  const run = await exampleRun();
  const address = await serve(dirname(run.path));
  const { page, errors } = await openPage(address);
  await page.locator("#ppo-reward .uplot").waitFor();
  expect(await page.locator("#run-rows tr").count()).toBe(1);
  expect(await page.locator("#ppo-reward").getAttribute("aria-label")).toBe(
    "Reward: SPA 0.2 → 0.7; Control 0.1 → 0.6",
  );
  {
    using _lock = run.lock();
    run.metrics.append({ stage: "spa/ppo", step: 7, reward_mean: 0.9 });
    await expect
      .poll(() => page.locator("#ppo-reward").getAttribute("aria-label"))
      .toContain("SPA 0.2 → 0.9");
    await expect.poll(() => page.locator("#run-rows").textContent()).toContain("running");
  }
  await expect.poll(() => page.locator("#run-rows").textContent()).toContain("stopped");

  // Another run begins: it is listed, laid over the first, and their settings are compared.
  RunFolder.create(configSchema.parse({ seed: 2 }), { root: dirname(run.path), name: "<b>other" });
  await page.getByLabel("<b>other", { exact: true }).check();
  await expect
    .poll(() => page.locator("#ppo-reward").getAttribute("aria-label"))
    .toContain("example: SPA 0.2");
  await page.getByText("Differing settings").click();
  await expect.poll(() => page.locator("#setting-table").textContent()).toContain("protocol.maxTurns");

  await page.locator('select[name="stage"]').selectOption("spa/ppo");
  await page.locator("#found button").first().click();
  const shown = page.locator("#trajectory");
  await shown.locator(".replay").waitFor();
  expect(await shown.textContent()).toContain('</script><script>alert("1")</script>');
  const caption = () => shown.locator(".frame:visible figcaption").textContent();
  expect(await caption()).toBe("0 of 2: at the beginning");
  await shown.locator(".replay").focus();
  await page.keyboard.press("ArrowRight");
  expect(await caption()).toBe("1 of 2: after Right || Down");
  expect(await shown.locator(".frame:visible .piece-player").getAttribute("cx")).toBe("30");
  expect(errors).toEqual([]);
});

test.skipIf(chromium === undefined)(
  "nothing is wider than a small screen, in the dark as in the light",
  async () => {
    const run = await exampleRun();
    const address = await serve(dirname(run.path));
    for (const colorScheme of ["light", "dark"] as const) {
      const { page, errors } = await openPage(address, {
        viewport: { width: 400, height: 800 },
        colorScheme,
      });
      await page.locator("#ppo-reward .uplot").waitFor();
      await page.locator("#found button").first().click();
      await page.locator("#trajectory .replay").waitFor();
      const measured =
        "[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]";
      const [width, ground] = (await page.evaluate(measured)) as [number, string];
      expect([width, ground]).toEqual([
        400,
        colorScheme === "light" ? "rgb(255, 255, 255)" : "rgb(13, 17, 23)",
      ]);
      expect(errors).toEqual([]);
    }
  },
);

test.skipIf(chromium === undefined)(
  "a run is stopped and goes on by the page's buttons",
  { timeout: 400_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "spa-watch-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
    writeTinyConfig(folder);
    const { page } = await openPage(await serve(join(folder, "runs")));
    const training = start(folder, ["train", "tiny.yaml", "--name", "steered"]);
    const row = page.locator("#run-rows tr");
    const patient = { timeout: 150_000 };
    await row.getByText("running: Base").waitFor(patient);
    await row.getByRole("button", { name: "Stop" }).click();
    expect((await training.end).code).toBe(130);
    await row.getByText("stopped").waitFor(patient);
    await row.getByRole("button", { name: "Go on" }).click();
    await row.getByText("running").waitFor(patient);
    await expect.poll(() => RunFolder.open(join(folder, "runs", "steered")).sessions.length, patient).toBe(2);
    await row.getByRole("button", { name: "Stop" }).click();
    await row.getByText("stopped").waitFor(patient);
  },
);
