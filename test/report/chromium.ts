import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium as engine, type Page } from "playwright-core";
import { onTestFinished } from "vitest";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const folders = (process.env.PATH ?? "").split(delimiter);

/** A Chromium on this machine, if there is one. */
export const chromium = folders.flatMap((folder) => names.map((name) => join(folder, name))).find(existsSync);

let browser: Promise<Browser> | undefined;

/** One for all tests of a file; its process ends with theirs. */
function launched(): Promise<Browser> {
  browser ??= engine.launch({
    executablePath: chromium!,
    args: ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
  });
  return browser;
}

/** A page in a real browser without a network, and what its scripts have thrown or complained of. */
export async function openPage(
  address: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; errors: string[] }> {
  const context = await (await launched()).newContext({
    viewport: { width: 1280, height: 900 },
    ...options,
  });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  await page.goto(address);
  return { page, errors };
}
