import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const folders = (process.env.PATH ?? "").split(delimiter);

/** A Chromium on this machine, if there is one. */
export const chromium = folders.flatMap((folder) => names.map((name) => join(folder, name))).find(existsSync);

/** The page's document after its scripts have run, without a network. @throws Error with what a script threw */
export async function renderedPage(file: string): Promise<string> {
  const profile = mkdtempSync(join(tmpdir(), "spa-chromium-"));
  try {
    const { stdout, stderr } = await promisify(execFile)(
      chromium!,
      [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        `--user-data-dir=${profile}`,
        "--window-size=1280,4000",
        "--enable-logging=stderr",
        "--virtual-time-budget=3000",
        "--dump-dom",
        `file://${file}`,
      ],
      { maxBuffer: 2 ** 26 },
    );
    const errors = stderr.split("\n").filter((line) => line.includes(":CONSOLE"));
    if (errors.length > 0) throw new Error(errors.join("\n"));
    return stdout;
  } finally {
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
